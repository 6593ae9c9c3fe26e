"""Statistics of single texts: sentence starts, scripts, em dashes, lexical variety, length."""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+|\n+")
EM_DASH = "\u2014"


def words(text: str) -> list[str]:
    """Words in lower case: letters and digits with inner apostrophes and hyphens."""
    return WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Pieces between sentence-final punctuation or line breaks that hold a word."""
    return [s for s in SENTENCE_END.split(text) if s and WORD.search(s)]


def repeats_start(text: str, run: int = 3) -> bool:
    """Whether `run` consecutive sentences start with the same word."""
    starts = [WORD.search(s.lower()).group() for s in sentences(text)]
    return any(len(set(starts[i:i + run])) == 1 for i in range(len(starts) - run + 1))


@lru_cache(maxsize=65536)
def script(character: str) -> str | None:
    """First word of a letter's Unicode name (LATIN, CYRILLIC, CJK, ...); None for what is not a letter."""
    if not unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo"):
        return None
    return unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]


def scripts(text: str) -> set[str]:
    return {script(c) for c in set(text)} - {None}


def corpus_scripts(texts: Iterable[str], share: float = 0.01) -> set[str]:
    """Scripts that occur in at least this share of the texts."""
    found = [scripts(t) for t in texts]
    return {s for s in set().union(*found) if sum(s in f for f in found) >= share * len(found)}


def type_token_ratio(text: str) -> float:
    """Distinct words by words; NaN without words."""
    w = words(text)
    return len(set(w)) / len(w) if w else float("nan")


def mtld(text: str, threshold: float = 0.72) -> float:
    """Measure of textual lexical diversity: mean length of stretches whose type-token ratio stays above the threshold,
    forwards and backwards averaged (McCarthy and Jarvis 2010). NaN below 10 words."""
    w = words(text)
    if len(w) < 10:
        return float("nan")
    return (_mtld_pass(w, threshold) + _mtld_pass(w[::-1], threshold)) / 2


def _mtld_pass(w: Sequence[str], threshold: float) -> float:
    factors, types, tokens, ratio = 0.0, set(), 0, 1.0
    for word in w:
        types.add(word)
        tokens += 1
        ratio = len(types) / tokens
        if ratio <= threshold:
            factors += 1
            types, tokens, ratio = set(), 0, 1.0
    if tokens:
        factors += (1 - ratio) / (1 - threshold)
    return len(w) / factors if factors else float(len(w))


def per_text(texts: Sequence[str], known_scripts: set[str]) -> dict[str, np.ndarray]:
    """Statistic of each text, float64 [n]; NaN where a text has none. Em dashes are per 1,000 words."""
    counts = np.array([len(words(t)) for t in texts], dtype=np.float64)
    return {
        "same_start": np.array([repeats_start(t) for t in texts], dtype=np.float64),
        "foreign_script": np.array([bool(scripts(t) - known_scripts) for t in texts], dtype=np.float64),
        "em_dash": np.array([EM_DASH in t for t in texts], dtype=np.float64),
        "type_token_ratio": np.array([type_token_ratio(t) for t in texts]),
        "mtld": np.array([mtld(t) for t in texts]),
        "length": counts,
    }
