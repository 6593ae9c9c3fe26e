"""One number of an evaluation with its uncertainty, and the resampling that gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

LEVEL = 0.95  # of every interval


@dataclass(frozen=True)
class Permutations:
    """A statistic, and what it is with the labels of outputs and human texts permuted.

    Attributes:
        statistic: under the labels as they are.
        null: in every permutation, float64 [rounds].
        two_sided: far below 0 is as extreme as far above.
    """

    statistic: float
    null: np.ndarray
    two_sided: bool = False

    @property
    def p(self) -> float:
        if self.two_sided:
            return p_value(abs(self.statistic), np.abs(self.null))
        return p_value(self.statistic, self.null)


@dataclass
class Estimate:
    """A metric of one system.

    Attributes:
        value: the metric; None where it is undefined, and then `reason` says why.
        low, high: 95% bootstrap interval over prompts.
        p: p-value of the permutation test that outputs and reference are exchangeable, where the
            metric has one.
        human, human_low, human_high: the same metric of human texts. A metric of two sets (MMD,
            token L2, ...) is taken between disjoint halves of the reference, one of a single set
            (length, self-BLEU, ...) on the reference itself.
        draws: the metric of each draw, of a system with several answers to every prompt, whose
            other fields are then those of the mean over the draws; None of a single draw.
        rounds: the metric in every bootstrap round, without their bias. Estimates of two systems
            with the same prompts, seed and rounds are resampled alike, so that the difference of
            their rounds is a paired bootstrap.
        test: what `p` is from.
        texts: of a share, 1 or 0 for each text (NaN where it does not count), float64 [n].
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    human: float | None = None
    human_low: float | None = None
    human_high: float | None = None
    reason: str | None = None
    draws: list[float] | None = None
    rounds: np.ndarray | None = field(default=None, repr=False, compare=False)
    test: Permutations | None = field(default=None, repr=False, compare=False)
    texts: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def spread(self) -> float | None:
        """Half of how far the draws lie apart; None of a single draw."""
        return (max(self.draws) - min(self.draws)) / 2 if self.draws else None

    def to_json(self) -> dict:
        """What a reader needs; None for what is undefined. `draws` only where there are several."""
        names = ("value", "low", "high", "p", "human", "human_low", "human_high", "reason")
        record = {name: getattr(self, name) for name in names}
        return record | ({"draws": self.draws} if self.draws else {})


def undefined(reason: str) -> Estimate:
    return Estimate(reason=reason)


def estimate(
    value: float,
    rounds: np.ndarray | None,
    *,
    test: Permutations | None = None,
    human: tuple[float | None, float | None, float | None] | None = None,
) -> Estimate:
    """An Estimate with the percentile interval of its bootstrap rounds, without their bias.

    Args:
        value: the metric.
        rounds: the metric in every bootstrap round; None where it is not drawn again.
        test: its permutations, for p.
        human: the metric of human texts and its interval.
    """
    if not np.isfinite(value):
        return undefined("not finite")
    if rounds is not None and np.isfinite(rounds).all():
        rounds = centred(rounds, value)
        low, high = interval(rounds)
    else:
        rounds = low = high = None
    of_human, human_low, human_high = (optional(h) for h in human or (None, None, None))
    p = test.p if test else None
    return Estimate(
        float(value), low, high, p, of_human, human_low, human_high, rounds=rounds, test=test
    )


def centred(rounds: np.ndarray, value: float) -> np.ndarray:
    """The rounds without their bias, [rounds].

    A plug-in distance is biased upwards by resampling noise, and a plain percentile interval would
    lie above the estimate. A share is not, and if the chance of the rounds moved it, that chance
    would say whether one text in a thousand differs from none. So they are moved only by more than
    three standard errors of their mean.
    """
    bias = rounds.mean() - value
    return rounds - bias if abs(bias) > 3 * rounds.std() / np.sqrt(len(rounds)) else rounds


def interval(rounds: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(rounds, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(x: np.ndarray) -> tuple[float, float]:
    """95% score interval of the mean of x [n] in [0, 1] (Wilson 1927).

    n is enlarged where ties make the variance smaller than that of wins and losses alone.
    """
    from scipy.stats import norm

    n, p, z = len(x), float(x.mean()), float(norm.ppf((1 + LEVEL) / 2))
    if 0 < p < 1:
        n = n / max(float(x.var()) / (p * (1 - p)), 1 / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def optional(x) -> float | None:
    return None if x is None or not np.isfinite(x) else float(x)


def resampling_weights(n: int, rounds: int, seed: int) -> np.ndarray:
    """How often each of n texts is drawn in each bootstrap round.

    float64 [rounds, n]; rows sum to n.
    """
    return (
        np.random.default_rng([seed, n])
        .multinomial(n, np.full(n, 1 / n), size=rounds)
        .astype(np.float64)
    )


def p_value(value: float, null: np.ndarray) -> float:
    """Share of permutations at least as extreme.

    The observed one counts (Phipson and Smyth 2010), so it is never 0.
    """
    # equal up to rounding is as extreme
    slack = 1e-9 * max(abs(value), float(np.abs(null).max(initial=0.0)))
    return float((1 + (null >= value - slack).sum()) / (1 + len(null)))
