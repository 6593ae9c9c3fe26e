"""Whether a set of outputs can be told from human texts by all tests together, and by which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dftfast.evaluation.estimate import Estimate, Permutations

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Told:
    """The answer of all tests of one system.

    Attributes:
        p: that all figures and phrases are as of human texts.
        figures: p of each figure that has a test, adjusted for all of them and the phrases.
        phrases: p that no phrase is over- or underused, adjusted likewise.
    """

    p: float
    figures: Mapping[str, float]
    phrases: float

    @property
    def told(self) -> bool:
        return self.p < SIGNIFICANT

    def differs(self, metric: str) -> bool:
        """Whether a figure differs from that of human texts, all tests considered."""
        return self.figures.get(metric, 1.0) < SIGNIFICANT


def told(
    estimates: Mapping[str, Estimate],
    phrases: float = 1.0,
    others: Mapping[str, Permutations] | None = None,
) -> Told:
    """All tests of one system. The chance that any is wrong is at most 5% (Holm 1979).

    The figures share their permutations, so that their part is Westfall and Young's step-down
    procedure, which is Holm's with the joint distribution of the tests in place of a bound.

    Args:
        phrases: p that no phrase is over- or underused: that of Simes, the least that Benjamini and
            Hochberg adjust to.
        others: tests that are no figure, by name.
    """
    tests = {m: f.test for m, f in estimates.items() if f.test is not None} | dict(others or {})
    rounds = max((len(test.null) for test in tests.values()), default=0)
    of_figures = step_down({m: t for m, t in tests.items() if len(t.null) == rounds})
    least = min(of_figures.values(), default=1.0)
    # Holm over the two: the smaller p counts twice, the other once, and not below the first
    first = min(1.0, 2 * min(least, phrases))
    doubled = least <= phrases
    adjust = lambda p, twice: min(1.0, max(first, p * (2 if twice else 1)))
    return Told(
        first,
        {m: adjust(p, doubled) for m, p in of_figures.items()},
        adjust(phrases, not doubled),
    )


def step_down(tests: Mapping[str, Permutations]) -> dict[str, float]:
    """p of each test adjusted for all of them, whose permutations are the same.

    Statistics are compared in standard deviations of their permutations (maxT). Westfall and Young,
    Resampling-Based Multiple Testing, 1993, algorithm 4.1.
    """
    if not tests:
        return {}
    extreme = {name: test.extremity for name, test in tests.items()}
    order = sorted(tests, key=lambda name: extreme[name][0])  # least extreme first
    largest, raw = None, {}
    for name in order:
        observed, null = extreme[name]
        largest = null if largest is None else np.maximum(largest, null)
        raw[name] = float((1 + (largest >= observed).sum()) / (1 + len(null)))
    adjusted, before = {}, 0.0
    for name in reversed(order):
        before = adjusted[name] = max(before, raw[name])
    return adjusted
