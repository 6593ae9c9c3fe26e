"""Statistics of single texts: sentences, constructions, scripts, punctuation, variety, length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import regex

from dftfast.evaluation.denials import not_but_spans
from dftfast.evaluation.glyphs import has_unusual, typographic_share
from dftfast.evaluation.writing_systems import scripts
from dftfast.runtime.words import lower_words, paragraphs, sentences, words

EM_DASH = "\u2014"
_MARK = regex.compile(r"[^\p{L}\p{M}\p{N}\p{Cf}\s]")


def has_not_but(text: str) -> bool:
    """Whether it denies one thing to assert another, as in "not just X but Y"."""
    return bool(not_but_spans(text))


def repeats_start(text: str, run: int = 3) -> bool:
    """Whether `run` consecutive sentences start with the same word."""
    starts = [lower_words(s)[0] for s in sentences(text)]
    return any(len(set(starts[i : i + run])) == 1 for i in range(len(starts) - run + 1))


def repeated_words(text: str) -> float:
    """Share of its word triples that it had before; NaN below 3 words."""
    w = lower_words(text)
    triples = list(zip(w, w[1:], w[2:]))
    return 1 - len(set(triples)) / len(triples) if triples else float("nan")


def type_token_ratio(text: str) -> float:
    """Distinct words by words; NaN without words."""
    w = lower_words(text)
    return len(set(w)) / len(w) if w else float("nan")


def mtld(text: str, threshold: float = 0.72) -> float:
    """Measure of textual lexical diversity (McCarthy and Jarvis 2010).

    Mean length of stretches whose type-token ratio stays above the threshold, forwards and
    backwards averaged; NaN below 10 words.
    """
    w = lower_words(text)
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
        "typography": np.array([typographic_share(t) for t in texts]),
        "unusual_characters": has(has_unusual),
        "repeated_words": np.array([repeated_words(t) for t in texts]),
        "punctuation": np.where(count > 0, 100 * marks / np.maximum(count, 1), np.nan),
        "type_token_ratio": np.array([type_token_ratio(t) for t in texts]),
        "mtld": np.array([mtld(t) for t in texts]),
        "sentence_length": each(np.mean, in_sentences),
        "sentence_spread": each(np.std, in_sentences, least=2),
        "paragraph_length": each(np.mean, in_paragraphs),
        "length_mean": count,
    }
