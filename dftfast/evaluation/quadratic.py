"""Distances that are quadratic in two empirical measures, resampled from Gram matrices.

MMD² and the squared n-gram distance are both sums of pairwise products of documents. With the
pairwise products in hand a bootstrap or permutation round is a vector-matrix-vector product, so a
thousand rounds are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from dftfast.model.device import pick_device

CHUNK = 256  # rounds at a time: bounds the memory of one product


def forms(left: np.ndarray, gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left_r · gram · right_r for every round r, float64 [rounds]; on the GPU if there is one."""
    device, out = pick_device(), np.empty(len(left))
    products = torch.from_numpy(np.ascontiguousarray(gram, np.float64)).to(device)
    for start in range(0, len(left), CHUNK):
        part = slice(start, start + CHUNK)
        rows, columns = (
            torch.from_numpy(np.ascontiguousarray(m[part], np.float64)).to(device)
            for m in (left, right)
        )
        out[part] = (rows @ products).mul_(columns).sum(1).cpu().numpy()
    return out


@dataclass
class UStatistic:
    """MMD² between x and y from kernel matrices, unbiased.

    Pairs of a text with itself are left out.

    When x_i and y_i answer the same prompt (`paired`), the pairs (x_i, y_i) are left out too. They
    are alike because of the prompt, which would lower the estimate by 2/n times their excess
    similarity, more than the whole of a small MMD². Gretton et al., A Kernel Two-Sample Test, JMLR
    2012, eq. 3 (and its one-sample form, eq. 4, when paired).
    """

    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    paired: bool

    def value(self) -> float:
        n, m = len(self.xx), len(self.yy)
        return float(self.resample(np.ones((1, n)), np.ones((1, m)))[0])

    @cached_property
    def _of_pairs(self) -> np.ndarray:
        """Of each two prompts what they add, [n, n]; when paired."""
        h = self.xx + self.yy - self.xy - self.xy.T
        np.fill_diagonal(h, 0)
        return h

    def resample(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        """MMD² with texts x drawn w [rounds, n] times and y drawn v [rounds, m] times.

        When paired, w and v are the same.
        """
        if self.paired:
            return within(self._of_pairs, w)
        between = forms(w, self.xy, v) / (w.sum(1) * v.sum(1))
        return within(self.xx, w) + within(self.yy, v) - 2 * between

    def permuted(self, exchanged: np.ndarray) -> np.ndarray:
        """MMD² with the labels x and y permuted (`TwoSamples.exchanged`). [rounds]"""
        n = len(self.xx)
        if self.paired:
            signs = 2 * exchanged[:, :n] - 1
            return forms(signs, self._of_pairs, signs) / (n * (n - 1))
        return split_mmd2(np.block([[self.xx, self.xy], [self.xy.T, self.yy]]), exchanged)


def within(gram: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mean of the Gram matrix over pairs of different texts, under weights w [rounds, n]."""
    total = forms(w, gram, w) - w**2 @ np.diag(gram).astype(np.float64)
    return total / (w.sum(1) ** 2 - (w**2).sum(1))


def split_mmd2(gram: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Unbiased MMD² between the texts marked 1 in `first` [rounds, n] and the others."""
    n, total = first.sum(1), gram.sum(1, dtype=np.float64)
    m, own = gram.shape[0] - n, np.diag(gram).astype(np.float64)
    inside, all_of_first = forms(first, gram, first), first @ total
    outside = total.sum() - 2 * all_of_first + inside
    own_first = first @ own
    return (
        (inside - own_first) / (n * (n - 1))
        + (outside - (own.sum() - own_first)) / (m * (m - 1))
        - 2 * (all_of_first - inside) / (n * m)
    )


def random_subsets(rng: np.random.Generator, rounds: int, n: int, size: int) -> np.ndarray:
    """Indicator of a random subset of `size` of n, float64 [rounds, n]."""
    marked = np.zeros((rounds, n))
    marked[:, :size] = 1
    return rng.permuted(marked, axis=1)


def swap_within_pairs(rng: np.random.Generator, rounds: int, n: int) -> np.ndarray:
    """Indicator over [x; y] of the first group when x_i and y_i change places at random.

    float64 [rounds, 2n]
    """
    keep = rng.integers(0, 2, size=(rounds, n)).astype(np.float64)
    return np.concatenate([keep, 1 - keep], axis=1)
