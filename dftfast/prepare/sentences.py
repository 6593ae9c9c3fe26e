"""Sentences of a text, by sentencex, which knows the abbreviations of some 300 languages."""

from __future__ import annotations


def sentences(text: str, language: str) -> list[str]:
    """With the spaces after them: together they are the text.

    Args:
        language: code of ISO 639-1; "und" is taken for English.
    """
    import sentencex

    segment = getattr(sentencex, "segment")  # noqa: B009  (of a compiled module without types)
    return list(segment("en" if language == "und" else language, text)) or [text]
