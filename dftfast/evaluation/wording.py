"""Overlap of wording with the human text of the prompt, and statistics of single texts."""

from __future__ import annotations

import numpy as np

from dftfast.evaluation import overlap, text_stats
from dftfast.evaluation.estimate import Estimate, estimate, undefined
from dftfast.evaluation.slop.duplicates import near_duplicates
from dftfast.evaluation.two_samples import TwoSamples, mean_estimate, weighted_sd


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
        "self_bleu": s.mean(overlap.self_bleu(s.x.texts), s.reference.self_bleu, test=False),
        "near_duplicates": s.mean(
            near_duplicates(s.x.texts), s.reference.near_duplicates, test=False
        ),
    }
    if s.reference.corpus is not None:
        x, y = s.reference.corpus.per_text(s.x.texts), s.reference.copied
        out |= {name: s.mean(x[name], y[name]) for name in x}
    return out


def single_texts(s: TwoSamples) -> dict[str, Estimate]:
    x, y = text_stats.per_text(s.x.texts, s.reference.scripts), s.reference.per_text
    out = {name: s.mean(x[name], y[name]) for name in x}
    length, human = x["length_mean"], y["length_mean"]
    of_human = estimate(float(human.std()), weighted_sd(human, s.v))
    out["length_sd"] = estimate(
        float(length.std()),
        weighted_sd(length, s.w),
        human=(of_human.value, of_human.low, of_human.high),
    )
    out["cut_by_length"] = _cut_by_length(s)
    return out


def _cut_by_length(s: TwoSamples) -> Estimate:
    reasons = s.x.finish_reason
    if reasons is None or any(r is None for r in reasons):
        return undefined("finish reasons are not known")
    cut = np.array([r == "length" for r in reasons], dtype=np.float64)
    return mean_estimate(cut, s.w)
