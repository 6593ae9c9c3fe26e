"""Overlap of wording with the human text of the prompt, and statistics of single texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dftfast.evaluation import overlap, text_stats
from dftfast.evaluation.estimate import Estimate, estimate, undefined
from dftfast.evaluation.slop.duplicates import near_duplicates
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.two_samples import TwoSamples, mean_estimate, weighted_sd

Measure = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


def reference_overlap(s: TwoSamples) -> dict[str, Estimate]:
    if not s.paired:
        return {
            name: undefined("outputs and reference answer different prompts")
            for name in ("chrf", "bleu")
        }
    out = {}
    for name, statistics, score in (
        ("chrf", overlap.chrf_statistics, overlap.chrf),
        ("bleu", overlap.bleu_statistics, overlap.bleu),
    ):
        values = statistics(s.x.texts, s.y.texts)
        out[name] = estimate(float(score(values.sum(0))), score(s.w @ values))
    return out


def repetition(s: TwoSamples) -> dict[str, Estimate]:
    """What outputs repeat of one another and of the training texts."""
    out = {
        "self_bleu": _within_set(s, overlap.self_bleu),
        "near_duplicates": _within_set(s, near_duplicates),
    }
    if s.reference.corpus is not None:
        x, y = s.reference.corpus.per_text(s.x.texts), s.reference.copied
        out |= {name: s.mean(x[name], y[name]) for name in x}
    return out


def _within_set(s: TwoSamples, measure: Measure) -> Estimate:
    """The mean of what each text has in common with the others of its set.

    It grows with their number: of the larger set as many texts as the smaller one has are taken.
    """
    few = min(len(s.x), len(s.y))
    x, spread_x = _of_some(s.x, few, s.seed, measure)
    key = (measure.__name__, few)
    if key not in s.reference.repetition:
        s.reference.repetition[key] = _of_some(s.y, few, s.seed, measure)[1]
    share = mean_estimate(x, s.w)
    mean = s.mean(spread_x, s.reference.repetition[key])
    if np.isin(x[np.isfinite(x)], (0, 1)).all() and share.value in (0, 1):
        mean.low, mean.high, mean.texts = share.low, share.high, share.texts
    return mean


def _of_some(
    texts: TextSet, few: int, seed: int, measure: Measure
) -> tuple[np.ndarray, np.ndarray]:
    """`measure` of so many of the texts, chosen at random; NaN for the others. [n] each"""
    if few == len(texts):
        return measure(texts.texts)
    chosen = np.random.default_rng([seed, 7]).permutation(len(texts))[:few]
    out = np.full((2, len(texts)), np.nan)
    out[:, chosen] = measure([str(texts.texts[i]) for i in chosen])
    return out[0], out[1]


def single_texts(s: TwoSamples) -> dict[str, Estimate]:
    x, y = text_stats.per_text(s.x.texts, s.reference.scripts), s.reference.per_text
    out = {name: s.mean(x[name], y[name]) for name in x}
    length, human = x["length_mean"], y["length_mean"]
    out["length_sd"] = estimate(
        float(length.std()),
        weighted_sd(length, s.w),
        test=s.mean_difference(_spread_of(length), _spread_of(human)),
    )
    out["cut_by_length"] = _cut_by_length(s)
    return out


def _spread_of(x: np.ndarray) -> np.ndarray:
    """What each entry of x [n] adds to the standard deviation, to first order, with it as mean."""
    spread = float(x.std())
    return spread + ((x - x.mean()) ** 2 - spread**2) / (2 * max(spread, 1e-12))


def _cut_by_length(s: TwoSamples) -> Estimate:
    reasons = s.x.finish_reason
    if reasons is None or any(r is None for r in reasons):
        return undefined("finish reasons are not known")
    cut = np.array([r == "length" for r in reasons], dtype=np.float64)
    return mean_estimate(cut, s.w)
