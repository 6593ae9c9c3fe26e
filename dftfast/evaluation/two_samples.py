"""Outputs and human texts aligned, and the resampling that all estimates of the pair share."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from dftfast.evaluation import quadratic
from dftfast.evaluation.estimate import (
    Estimate,
    Permutations,
    estimate,
    resampling_weights,
    undefined,
    wilson,
)
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.textset import TextSet, align
from dftfast.runtime.errors import UserError


class TwoSamples:
    """Outputs x and human texts y.

    Attributes:
        paired: x_i and y_i answer one prompt; False where the sets share no prompt.
        w, v: how often each text of x and y is drawn in each bootstrap round, [rounds, n] and
            [rounds, m]; the same when paired.

    Raises:
        UserError: the sets share some prompts but not all.
    """

    def __init__(self, outputs: TextSet, reference: Reference):
        if len(outputs) < 4:
            raise UserError(
                f"{outputs.name or 'outputs'}: {len(outputs)} texts; at least 4 are needed"
            )
        self.reference, self.y = reference, reference.texts
        self.paired = not set(outputs.ids).isdisjoint(self.y.ids)
        self.x = align(outputs, self.y) if self.paired else outputs
        self.rounds, self.seed = reference.rounds, reference.seed
        self.w = resampling_weights(len(self.x), self.rounds, self.seed)
        self.v = (
            self.w if self.paired else resampling_weights(len(self.y), self.rounds, self.seed + 1)
        )

    @cached_property
    def exchanged(self) -> np.ndarray:
        """Indicator over [x; y] of the first group with labels permuted, [rounds, n + m].

        Labels are permuted within prompts when the sets are paired. These permutations are those of
        every figure, so that figures can be tested together.
        """
        rng = np.random.default_rng([self.seed, 4])
        if self.paired:
            return quadratic.swap_within_pairs(rng, self.rounds, len(self.x))
        return quadratic.random_subsets(rng, self.rounds, len(self.x) + len(self.y), len(self.x))

    @property
    def has_unseen(self) -> bool:
        """Whether either set has the second embedding."""
        return self.x.unseen_embeddings is not None or self.y.unseen_embeddings is not None

    def embedding_problem(self, x: np.ndarray | None, y: np.ndarray | None) -> str | None:
        if x is None or y is None:
            return "no embeddings"
        if x.shape[1] != y.shape[1]:
            raise UserError(
                f"outputs have {x.shape[1]}-dimensional embeddings, the reference {y.shape[1]}: "
                "use one embedder"
            )
        return None

    def mean(self, x: np.ndarray, y: np.ndarray) -> Estimate:
        """Mean over the texts that have the statistic, which is never negative.

        Its p is that of a permutation test of the difference of means, and so is the human level.
        """
        if not np.isfinite(x).any() or not np.isfinite(y).any():
            return undefined("no text has what is measured")
        return mean_estimate(x, self.w, test=self.mean_difference(x, y))

    def mean_difference(self, x: np.ndarray, y: np.ndarray) -> Permutations:
        """Permutation test that the statistic [n], [m] has the same mean in both sets.

        A pair of which a text lacks the statistic counts as equal. Where the sets are not paired,
        only texts that have it change places.
        """
        level = float(np.nanmean(y))
        if self.paired:
            d = np.nan_to_num(x - y) / max(int(np.isfinite(x - y).sum()), 1)
            signs = 2 * self.exchanged[:, : len(d)] - 1
            return Permutations(float(d.sum()), signs @ d, level)
        pooled, known = np.r_[x, y], np.isfinite(np.r_[x, y])
        n, m = int(known[: len(x)].sum()), int(known[len(x) :].sum())
        first = self.exchanged
        if n + m < len(pooled):  # as many of those that have it, not of all, change places
            rng = np.random.default_rng([self.seed, 5])
            first = quadratic.random_subsets(rng, self.rounds, n + m, n)
        # of n and m texts the difference of means is this sum over the n alone
        pooled = (pooled[known] - pooled[known].mean()) * (n + m) / (n * m)
        return Permutations(float(pooled[:n].sum()), first @ pooled, level)


def mean_estimate(
    x: np.ndarray,
    w: np.ndarray,
    *,
    test: Permutations | None = None,
) -> Estimate:
    """Mean of the finite entries of x [n], with its rounds under w. `test` is that of `estimate`.

    The interval of a share, whose entries are 0 and 1, is Wilson's: where no text has a property,
    or all have it, a bootstrap has no spread.
    """
    known = x[np.isfinite(x)]
    mean = estimate(float(known.mean()), weighted_mean(x, w), test=test)
    if np.isin(known, (0, 1)).all():
        mean.low, mean.high = wilson(known)
        mean.texts = x
    return mean


def weighted_mean(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean of the finite entries of x [n] under each row of weights w [rounds, n]."""
    has = np.isfinite(x)
    return w[:, has] @ x[has] / np.maximum(w[:, has].sum(1), 1e-9)


def weighted_sd(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    mean = w @ x / w.sum(1)
    return np.sqrt(np.maximum(w @ x**2 / w.sum(1) - mean**2, 0))
