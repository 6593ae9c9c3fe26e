"""Language and script of a text, by py3langid, which ships its model (Lui and Baldwin 2012)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

_READ = 2000  # characters that tell


def language_of(text: str) -> tuple[str, str]:
    """(code of ISO 639-1, name of the script); ("und", ...) where there is too little to tell."""
    head = text[:_READ]
    script = _script(head)
    if sum(map(str.isalpha, head)) < 20:
        return "und", script
    import py3langid

    language, _ = py3langid.classify(head)
    return str(language), script


def _script(text: str) -> str:
    """The script of most letters."""
    names = Counter(_script_of(c) for c in text[:500] if c.isalpha())
    return names.most_common(1)[0][0] if names else "none"


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    return unicodedata.name(character, "unknown").split()[0].split("-")[0].lower()
