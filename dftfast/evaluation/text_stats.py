"""Statistics of single texts: sentences, constructions, scripts, punctuation, variety, length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from dftfast.distribution.style import SENTENCE_END, WORD

EM_DASH = "\u2014"
_MARK = re.compile(r"[^\w\s]")
_SMALL = r"(?:an?|the|about|because|by|in|for|to|as|from|with|of|through|on|at)"
_NOT_BUT = re.compile(
    rf"""
    \bnot\s+(?:just|only|merely|simply|so\s+much)\b [^.!?\n]{{1,120}}?
        \b(?:but|it['\u2019]s|it\s+is|they['\u2019]re)\b
  | \bnot\s+{_SMALL}\b [^.!?\n]{{1,80}}? \bbut\s+(?:rather\s+)?{_SMALL}\b
  | (?:\b(?:is|was|are|were)n['\u2019]t|(?:['\u2019]s|['\u2019]re|\b(?:is|was|are|were))\s+not)\b
        [^.!?;\u2014\n]{{1,80}}
    [.;,\u2014]\s* (?:it|this|that|they|he|she)(?:['\u2019](?:s|re)|\s+(?:is|was|are|were))\b""",
    re.IGNORECASE | re.VERBOSE,
)


def words(text: str) -> list[str]:
    """Words in lower case: letters and digits with inner apostrophes."""
    return WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Pieces between sentence-final punctuation or line breaks that hold a word."""
    return [s for s in SENTENCE_END.split(text) if s and WORD.search(s)]


def paragraphs(text: str) -> list[str]:
    """Pieces between line breaks that hold a word."""
    return [p for p in text.split("\n") if WORD.search(p)]


def has_not_but(text: str) -> bool:
    """Whether it has a construction of the kind "not just X but Y".

    So are "not a X but a Y" and "it isn't X, it's Y".
    """
    return _NOT_BUT.search(text) is not None


def repeats_start(text: str, run: int = 3) -> bool:
    """Whether `run` consecutive sentences start with the same word."""
    starts = [words(s)[0] for s in sentences(text)]
    return any(len(set(starts[i : i + run])) == 1 for i in range(len(starts) - run + 1))


@lru_cache(maxsize=65536)
def script(character: str) -> str | None:
    """First word of a letter's Unicode name (LATIN, CYRILLIC, CJK, ...); None for no letter."""
    if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
        return None
    return unicodedata.name(character, "UNNAMED").split()[0].split("-")[0]


def scripts(text: str) -> set[str]:
    return {name for c in set(text) if (name := script(c)) is not None}


def corpus_scripts(texts: Iterable[str], share: float = 0.01) -> set[str]:
    """Scripts that occur in at least this share of the texts."""
    each = [scripts(t) for t in texts]
    return {s for s in set().union(*each) if sum(s in of for of in each) >= share * len(each)}


def type_token_ratio(text: str) -> float:
    """Distinct words by words; NaN without words."""
    w = words(text)
    return len(set(w)) / len(w) if w else float("nan")


def mtld(text: str, threshold: float = 0.72) -> float:
    """Measure of textual lexical diversity (McCarthy and Jarvis 2010).

    Mean length of stretches whose type-token ratio stays above the threshold, forwards and
    backwards averaged; NaN below 10 words.
    """
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
    """Statistics of each text by their names in METRICS, float64 [n]; NaN where a text has none."""
    count = np.array([len(words(t)) for t in texts], dtype=np.float64)
    in_sentences = [[len(words(s)) for s in sentences(t)] for t in texts]
    in_paragraphs = [[len(words(p)) for p in paragraphs(t)] for t in texts]
    has = lambda test: np.array([test(t) for t in texts], dtype=np.float64)
    each = lambda statistic, groups, least=1: np.array(
        [statistic(g) if len(g) >= least else np.nan for g in groups]
    )
    marks = np.array([len(_MARK.findall(t)) for t in texts])
    return {
        "same_start": has(repeats_start),
        "not_but": has(has_not_but),
        "em_dash": has(lambda t: EM_DASH in t),
        "foreign_script": has(lambda t: scripts(t) - known_scripts != set()),
        "punctuation": np.where(count > 0, 100 * marks / np.maximum(count, 1), np.nan),
        "type_token_ratio": np.array([type_token_ratio(t) for t in texts]),
        "mtld": np.array([mtld(t) for t in texts]),
        "sentence_length": each(np.mean, in_sentences),
        "sentence_spread": each(np.std, in_sentences, least=2),
        "paragraph_length": each(np.mean, in_paragraphs),
        "length_mean": count,
    }
