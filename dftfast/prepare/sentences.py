"""Sentences of a text, by sentencex, which knows the abbreviations of some 300 languages."""

from __future__ import annotations


def sentences(text: str, language: str) -> list[str]:
    """With the spaces after them: together they are the text.

    Args:
        language: code of ISO 639-1; "und" is taken for English.
    """
    import sentencex

    segment = getattr(sentencex, "segment")  # noqa: B009  (of a compiled module without types)
    # half characters, which broken files have, are none in Rust: "?" stands for each of them
    readable = text.encode("utf-8", "replace").decode()
    parts, at = [], 0
    for part in segment("en" if language == "und" else language, readable):
        parts.append(text[at : at + len(part)])
        at += len(part)
    return parts or [text]
