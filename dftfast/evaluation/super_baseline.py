"""The bar: the best value of each metric over all settings, and whether a candidate beats it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np

from dftfast.evaluation.estimate import Estimate, centred, interval
from dftfast.evaluation.metrics import METRICS

# the names of systems that are shown beside the super-baseline but are no part of it begin so
BASELINE = "baseline "

BEYOND_HUMAN = frozenset(m for m in METRICS if m.startswith("jmq"))  # no limit to what is better
Key = TypeVar("Key", bound=Hashable)
Results = Mapping[str, Mapping[str, Estimate]]  # system -> key of METRICS -> Estimate


def human_figure(metric: str, estimates: Iterable[Estimate]) -> float | None:
    """What human texts have in a metric of several systems; None where that is not known.

    The human figure of a distance comes from each system's own permutations: the one furthest on
    the better side is taken.
    """
    known = [each.human for each in estimates if each.human is not None]
    if not known:
        return None
    return max(known) if METRICS[metric].better == "higher" else min(known)


@overload
def loss(metric: str, value: float, human: float | None) -> float: ...


@overload
def loss(metric: str, value: np.ndarray, human: float | None) -> np.ndarray: ...


def loss(metric, value, human):
    """How far a value of this metric is from the human figure, in its own units.

    It is 0 beyond the human figure where less, or more, is better: nothing can be more like people
    than people are.

    Args:
        value: a number, or one for each bootstrap round.
        human: None where it is not known: the value counts by itself, the lower the better.
    """
    better = METRICS[metric].better
    if better == "human":
        return abs(value - human)
    signed = -1 if better == "higher" else 1
    return signed * value if human is None else np.maximum(signed * (value - human), 0)


def least_loss(metric: str, estimates: Mapping[Key, Estimate]) -> tuple[Key, Estimate] | None:
    """The best of several estimates of one metric; None where no value can be rated."""
    rated = {key: each for key, each in estimates.items() if _rated(metric, each)}
    if not rated:
        return None
    human = None if metric in BEYOND_HUMAN else human_figure(metric, rated.values())

    def rank(key: Key) -> tuple[float, float]:
        value = rated[key].value
        assert value is not None
        # of two that are as good as people, the further one
        own = loss(metric, value, human)
        return own, own if METRICS[metric].better == "human" else loss(metric, value, None)

    best = min(rated, key=rank)
    return best, rated[best]


def _rated(metric: str, each: Estimate) -> bool:
    """Whether it can be said how good it is."""
    return each.value is not None and (METRICS[metric].better != "human" or each.human is not None)


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
        gain: how much nearer to the human figure the candidate is, in the metric's units (positive:
            better).
        low, high: 95% interval of the gain by paired bootstrap over prompts; None where there are
            no rounds.
        verdict: "better", "worse", or "level" when the interval holds 0 (without one: overlapping
            intervals) or when the one behind is itself at the human level.
    """

    gain: float
    low: float | None
    high: float | None
    verdict: str


def compare(metric: str, candidate: Estimate, baseline: Estimate) -> Comparison | None:
    """Two systems evaluated on the same prompts with the same seed.

    None where either is undefined, or where the metric has no side that is better.

    The baseline of a super-baseline was chosen as the best of many by the same prompts, which
    flatters it; the interval does not correct for that, so that "better" is on the careful side.
    """
    both = (candidate, baseline)
    rated = METRICS[metric].compared and all(_rated(metric, each) for each in both)
    if not rated or candidate.value is None or baseline.value is None:
        return None
    human = None if metric in BEYOND_HUMAN else human_figure(metric, both)
    gain = loss(metric, baseline.value, human) - loss(metric, candidate.value, human)
    a, b = candidate.rounds, baseline.rounds
    if a is not None and b is not None and len(a) == len(b):
        differences = loss(metric, b, human) - loss(metric, a, human)
        low, high = interval(centred(differences, gain))
    else:
        low = high = None
    behind = baseline if gain > 0 else candidate
    human_like = behind.within_human
    verdict = "level" if human_like else _verdict(gain, low, high, candidate, baseline)
    return Comparison(float(gain), low, high, verdict)


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
