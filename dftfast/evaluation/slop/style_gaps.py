"""Style features of outputs beside those of human texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dftfast.distribution.style import STYLE_FEATURES, style_matrix
from dftfast.evaluation.estimate import interval
from dftfast.evaluation.two_samples import TwoSamples


@dataclass(frozen=True)
class StyleGap:
    """A feature's mean in outputs and in human texts.

    `gap` is their difference in human spreads (standardised mean difference) with its 95% interval,
    `p` that of a permutation test, adjusted for all features (Benjamini and Hochberg).
    """

    feature: str
    outputs: float
    human: float
    gap: float
    low: float
    high: float
    p: float


def style_gaps(s: TwoSamples) -> list[StyleGap]:
    """Every feature, the largest gap first."""
    from scipy import stats

    scale = s.reference.style
    raw = style_matrix(s.x.texts).numpy().astype(np.float64)
    of_human = scale.raw.astype(np.float64)
    p = stats.false_discovery_control(
        [s.mean_difference(raw[:, k], of_human[:, k]).p for k in range(len(STYLE_FEATURES))]
    )
    gaps = (raw.mean(0) - of_human.mean(0)) / scale.spread
    rounds = ((s.w @ raw) / len(raw) - (s.v @ of_human) / len(of_human)) / scale.spread
    bounds = [interval(rounds[:, k]) for k in range(len(STYLE_FEATURES))]
    rows = [
        StyleGap(
            name,
            float(raw[:, k].mean()),
            float(of_human[:, k].mean()),
            float(gaps[k]),
            *bounds[k],
            float(p[k]),
        )
        for k, name in enumerate(STYLE_FEATURES)
    ]
    return sorted(rows, key=lambda row: -abs(row.gap))
