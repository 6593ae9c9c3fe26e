"""Style features of outputs beside those of human texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dftfast.distribution.style import STYLE_FEATURES, style_matrix
from dftfast.evaluation.estimate import Permutations, interval
from dftfast.evaluation.two_samples import TwoSamples

Features = tuple[np.ndarray, np.ndarray]  # of outputs and of human texts


@dataclass(frozen=True)
class StyleGap:
    """A feature's mean in outputs and in human texts.

    `gap` is their difference in human spreads (standardised mean difference) with its 95% interval,
    `p` that of a permutation test, adjusted for all features (Benjamini and Hochberg), `strength`
    its statistic in standard deviations of the permutations.
    """

    feature: str
    outputs: float
    human: float
    gap: float
    low: float
    high: float
    p: float
    strength: float


def test_name(feature: str) -> str:
    """What the test of a feature is called among all tests."""
    return f"style: {feature}"


def style_tests(s: TwoSamples, both: Features) -> dict[str, Permutations]:
    """The permutation test of each feature's mean, by `test_name`."""
    raw, human = both
    return {
        test_name(name): s.mean_difference(raw[:, k], human[:, k])
        for k, name in enumerate(STYLE_FEATURES)
    }


def features(s: TwoSamples) -> Features:
    """The features of outputs and of human texts, float64 [n, features] and [m, features]."""
    outputs = style_matrix(s.x.texts).numpy().astype(np.float64)
    return outputs, s.reference.style.raw.astype(np.float64)


def style_gaps(s: TwoSamples, both: Features, tests: Mapping[str, Permutations]) -> list[StyleGap]:
    """Every feature, the largest gap first. `tests` are those of `style_tests`."""
    from scipy import stats

    scale, (raw, of_human) = s.reference.style, both
    p = stats.false_discovery_control([tests[test_name(name)].p for name in STYLE_FEATURES])
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
            tests[test_name(name)].extremity[0],
        )
        for k, name in enumerate(STYLE_FEATURES)
    ]
    return sorted(rows, key=lambda row: -abs(row.gap))
