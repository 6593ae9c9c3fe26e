"""One number of an evaluation with its uncertainty, and the resampling that gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

LEVEL = 0.95  # of every interval
FEW_ROUNDS, FEWEST_ROUNDS = 200, 20


@dataclass(frozen=True)
class Permutations:
    """A statistic, and what it is with the labels of outputs and human texts permuted.

    Where a permutation is so costly that there are but a few, p is of a normal fit to them.

    Attributes:
        statistic: under the labels as they are.
        null: in every permutation, float64 [rounds].
        level: of a difference of means, the mean of the human texts. Far below 0 is then as extreme
            as far above. None of a distance.
    """

    statistic: float
    null: np.ndarray
    level: float | None = None

    @property
    def two_sided(self) -> bool:
        return self.level is not None

    @property
    def p(self) -> float:
        if len(self.null) < FEWEST_ROUNDS:
            from scipy.stats import t

            spread = float(self.null.std(ddof=1)) * math.sqrt(1 + 1 / len(self.null))
            standard = (self.statistic - float(self.null.mean())) / max(spread, 1e-300)
            return float(t.sf(standard, len(self.null) - 1))
        if self.two_sided:
            return p_value(abs(self.statistic), np.abs(self.null))
        return p_value(self.statistic, self.null)

    @property
    def extremity(self) -> tuple[float, np.ndarray]:
        """How many standard deviations the statistic, and each permutation, is from the mean."""
        centre, spread = self.null.mean(), max(float(self.null.std()), 1e-300)
        standard = (np.r_[self.statistic, self.null] - centre) / spread
        # equal up to rounding is as extreme
        standard = np.round(np.abs(standard) if self.two_sided else standard, 9)
        return float(standard[0]), standard[1:]

    @property
    def human(self) -> tuple[float, float, float]:
        """What human texts in place of the outputs would give: the middle of it and 95% of it.

        A mean of something that is never negative is not either.
        """
        low, high = interval(self.null)
        if (
            len(self.null) < FEW_ROUNDS
        ):  # quantiles of few lie inside: Student's prediction interval
            from scipy.stats import t

            spread = float(self.null.std(ddof=1)) * math.sqrt(1 + 1 / len(self.null))
            reach = float(t.ppf((1 + LEVEL) / 2, len(self.null) - 1)) * spread
            low, high = float(self.null.mean()) - reach, float(self.null.mean()) + reach
        if self.level is None:
            return float(self.null.mean()), low, high
        return self.level, max(self.level + low, 0.0), self.level + high


@dataclass
class Estimate:
    """A metric of one system.

    Attributes:
        value: the metric; None where it is undefined, and then `reason` says why.
        low, high: 95% bootstrap interval over prompts.
        p: p-value of the permutation test that outputs and reference are exchangeable, where the
            metric has one.
        human, human_low, human_high: the human level: what the metric would be of as many
            human texts in place of the outputs, and the limits of 95% of it, from the permutations
            of `test`. Without a test it is the metric of the reference itself.
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
    def within_human(self) -> bool:
        """Whether the value is inside the human level."""
        if self.value is None or self.human_low is None or self.human_high is None:
            return False
        return self.human_low <= self.value <= self.human_high

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
        human: the metric of human texts and its interval, where there is no test.
    """
    if not np.isfinite(value):
        return undefined("not finite")
    if rounds is not None and np.isfinite(rounds).all():
        rounds = centred(rounds, value)
        low, high = interval(rounds)
    else:
        rounds = low = high = None
    level = test.human if test else human or (None, None, None)
    of_human, human_low, human_high = (optional(h) for h in level)
    p = test.p if test else None
    return Estimate(
        float(value), low, high, p, of_human, human_low, human_high, rounds=rounds, test=test
    )


def share_estimate(value: float, rounds: np.ndarray, test: Permutations) -> Estimate:
    """`estimate` of a share, whose interval ends at 0 and 1."""
    share = estimate(value, rounds, test=test)
    if share.low is not None and share.high is not None:
        share.low, share.high = max(share.low, 0.0), min(share.high, 1.0)
    return share


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
    low = 0.0 if p == 0 else max(0.0, centre - half)  # rounding would leave 1e-19
    return low, 1.0 if p == 1 else min(1.0, centre + half)


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
