"""The bar: the best value of each metric over all settings, and whether a candidate beats it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np

from dftfast.evaluation.estimate import Estimate, centred, interval
from dftfast.evaluation.metrics import METRICS

# the names of systems that are shown beside the super-baseline but are no part of it begin so
BASELINE = "baseline "

Key = TypeVar("Key", bound=Hashable)
Results = Mapping[str, Mapping[str, Estimate]]  # system -> key of METRICS -> Estimate


@overload
def loss(metric: str, value: float, estimate: Estimate) -> float: ...


@overload
def loss(metric: str, value: np.ndarray, estimate: Estimate) -> np.ndarray: ...


def loss(metric, value, estimate):
    """How bad a value of this metric is, in its own units: the less the better.

    Args:
        value: a number, or one for each bootstrap round.
        estimate: where the best value is that of human texts, it says which.
    """
    better = METRICS[metric].better
    if better == "human":
        return abs(value - estimate.human)
    return -value if better == "higher" else value


def least_loss(metric: str, estimates: Mapping[Key, Estimate]) -> tuple[Key, Estimate] | None:
    """The best of several estimates of one metric; None where no value can be rated."""
    losses = {
        key: loss(metric, each.value, each)
        for key, each in estimates.items()
        if each.value is not None and (METRICS[metric].better != "human" or each.human is not None)
    }
    if not losses:
        return None
    best = min(losses, key=losses.__getitem__)
    return best, estimates[best]


def super_baseline_systems(results: Results, candidate: str | None) -> Results:
    """The systems that make the super-baseline: all but the candidate and its baselines."""
    return {
        name: estimates
        for name, estimates in results.items()
        if name != candidate and not name.startswith(BASELINE)
    }


def super_baseline(results: Results) -> dict[str, tuple[str, Estimate]]:
    """The best system for each metric separately. A metric that no system has is left out."""
    best = {}
    for metric in METRICS:
        have = {name: known[metric] for name, known in results.items() if metric in known}
        if (least := least_loss(metric, have)) is not None:
            best[metric] = least
    return best


@dataclass(frozen=True)
class Comparison:
    """Candidate against baseline in one metric.

    Attributes:
        gain: how much better the candidate is, in the metric's units (positive: better).
        low, high: 95% interval of the gain by paired bootstrap over prompts; None where there are
            no rounds.
        verdict: "better", "worse", or "level" when the interval holds 0 (without one: overlapping
            intervals).
    """

    gain: float
    low: float | None
    high: float | None
    verdict: str


def compare(metric: str, candidate: Estimate, baseline: Estimate) -> Comparison | None:
    """Two systems evaluated on the same prompts with the same seed. None where either is undefined.

    The baseline of a super-baseline was chosen as the best of many by the same prompts, which
    flatters it; the interval does not correct for that, so that "better" is on the careful side.
    """
    if (
        candidate.value is None
        or baseline.value is None
        or (METRICS[metric].better == "human" and baseline.human is None)
    ):
        return None
    gain = loss(metric, baseline.value, baseline) - loss(metric, candidate.value, baseline)
    a, b = candidate.rounds, baseline.rounds
    if a is not None and b is not None and len(a) == len(b):
        differences = loss(metric, b, baseline) - loss(metric, a, baseline)
        low, high = interval(centred(differences, gain))
    else:
        low = high = None
    return Comparison(float(gain), low, high, _verdict(gain, low, high, candidate, baseline))


def _verdict(gain: float, low: float | None, high: float | None, a: Estimate, b: Estimate) -> str:
    if low is None or high is None:
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return "level"
        if a.low <= b.high and b.low <= a.high:
            return "level"
        return "better" if gain > 0 else "worse"
    return "better" if low > 0 else "worse" if high < 0 else "level"


def verdicts(results: Results, candidate: str) -> dict[str, tuple[str, Comparison]]:
    """For each metric, the super-baseline's system and how the candidate compares with it."""
    best = super_baseline(super_baseline_systems(results, candidate))
    out = {}
    for metric, (name, estimate) in best.items():
        comparison = compare(metric, results[candidate].get(metric, Estimate()), estimate)
        if comparison is not None:
            out[metric] = name, comparison
    return out
