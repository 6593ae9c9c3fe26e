"""Energy distance between the distributions of the lengths of texts."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.distribution.samples import Samples


def mean_distance(x: Tensor, y: Tensor) -> Tensor:
    """float64 [n]: mean_j |x_i − y_j|, in O((n + m) log m) by sorting y."""
    y = y.sort().values
    sums = torch.cat([y.new_zeros(1), y.cumsum(0)])
    below = torch.searchsorted(y, x)
    return (x * (2 * below - len(y)) + sums[-1] - 2 * sums[below]) / len(y)


class Energy:
    """`2 E|a − b| − E|a − a'| − E|b − b'|` of a feature, unbiased.

    It is twice the Cramér distance ∫ (F_q − F_p)². Székely and Rizzo 2013, "Energy statistics",
    equation 2.1. It is also MMD² with the kernel −|a − b|.
    """

    def feature(self, samples: Samples) -> Tensor:
        """float64 [n]."""
        raise NotImplementedError

    def fit(self, human: Samples) -> None:
        self.human = self.feature(human)
        self.human_within = float(_within(self.human).mean())

    def value(self, samples: Samples) -> float:
        return self.distance(self.feature(samples))

    def distance(self, a: Tensor) -> float:
        """The discrepancy of features a, float64 [n]."""
        return (
            float(2 * mean_distance(a, self.human).mean() - _within(a).mean()) - self.human_within
        )

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: `2 mean_{a' ≠ a} |a − a'| − 2 mean_b |a − b|`."""
        a = self.feature(samples)
        return (2 * (_within(a) - mean_distance(a, self.human))).float()


class LengthEnergy(Energy):
    """Of the log of the tokens of a text, so that half and double as long are equally far."""

    def feature(self, samples: Samples) -> Tensor:
        return samples.lengths.clamp(min=1).double().log()


def _within(a: Tensor) -> Tensor:
    return mean_distance(a, a) * len(a) / (len(a) - 1)
