"""Which scripts a text is written in, by the Unicode property of its letters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import regex

_NAMES = (
    *("Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Syriac", "Thaana", "Nko"),
    *("Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada"),
    *("Malayalam", "Sinhala", "Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Mongolian"),
    *("Georgian", "Ethiopic", "Cherokee", "Canadian_Aboriginal", "Tifinagh", "Yi", "Bopomofo"),
    *("Hangul", "Hiragana", "Katakana", "Han"),
)
_OF_NO_SCRIPT = r"(?P<none>\p{Script=Common}|\p{Script=Inherited})"  # as the sign of micro, \u00b5
_SCRIPT = regex.compile(
    "|".join([*(rf"(?P<{name}>\p{{Script={name}}})" for name in _NAMES), _OF_NO_SCRIPT])
)
_LETTER = regex.compile(r"[\p{L}--\p{Lm}]", regex.V1)


@lru_cache(maxsize=65536)
def script(character: str) -> str | None:
    """The script of a letter in upper case (LATIN, CYRILLIC, HAN, ..., else OTHER).

    None for no letter and for letters of no script: signs of measures and of mathematics.
    """
    if not _LETTER.match(character):
        return None
    found = _SCRIPT.match(character)
    name = found.lastgroup if found else "other"
    return None if name is None or name == "none" else name.upper()


def scripts(text: str) -> set[str]:
    return {name for c in set(text) if (name := script(c)) is not None}


def corpus_scripts(texts: Iterable[str], share: float = 0.01) -> set[str]:
    """Scripts that occur in at least this share of the texts."""
    each = [scripts(t) for t in texts]
    return {s for s in set().union(*each) if sum(s in of for of in each) >= share * len(each)}
