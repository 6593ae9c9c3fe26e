"""Distances of answers from the human texts of the same prompts, and what chance makes of them.

Answers and human texts to the same prompts are compared over all pairs of two prompts, so that what
a prompt asks for is in neither side's favour (Gretton et al., "A Kernel Two-Sample Test", JMLR
2012, eq. 4). Were the answers human, either text of a prompt could be called the answer: with the
signs of the prompts flipped at random the distance has mean 0, and its variance is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dftfast.distribution.counts import ngram_matrices
from dftfast.distribution.mmd import MMD, gaussian_kernel
from dftfast.distribution.samples import Samples


@dataclass(frozen=True)
class PairedDistance:
    """A squared distance, unbiased, and its standard deviation were the answers human."""

    value: float
    deviation: float

    @property
    def z(self) -> float:
        return self.value / max(self.deviation, 1e-30)


def paired_mmd2(mmd: MMD, answers: Samples, human: Samples) -> PairedDistance:
    """Of answers [n] and the human texts [n] of the same prompts; `mmd` is fitted."""
    x, y = mmd.features(answers), mmd.features(human)
    kernel = lambda a, b: _numpy(gaussian_kernel(a, b, mmd.bandwidths))
    crossed = kernel(x, y)
    return _u_statistic(kernel(x, x) + kernel(y, y) - crossed - crossed.T)


def paired_ngram_l2(n: int, answers: Samples, human: Samples) -> PairedDistance:
    """Squared L2 distance of n-gram frequencies."""
    x, y = ngram_matrices(n, [answers, human])
    # A text's part in the difference, as if the totals were known: their chance is of second order.
    parts = len(answers) * (x / max(x.sum(), 1) - y / max(y.sum(), 1))
    return _u_statistic((parts @ parts.T).toarray())


def _u_statistic(products: np.ndarray) -> PairedDistance:
    """Mean over the pairs of two prompts."""
    n = len(products)
    np.fill_diagonal(products, 0)
    pairs = n * (n - 1)
    squares = np.square(products, dtype=np.float64).sum()
    return PairedDistance(
        float(products.sum(dtype=np.float64) / pairs), float((2 * squares) ** 0.5 / pairs)
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
