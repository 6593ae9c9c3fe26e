"""Energy distance between the length distributions of outputs and of human texts."""

from __future__ import annotations

import torch
from torch import Tensor

from .samples import Samples


def log_lengths(samples: Samples) -> Tensor:
    """float64 [n]: log of the tokens of each text, so that half and double as long are equally far."""
    return samples.lengths.clamp(min=1).double().log()


def mean_distance(x: Tensor, y: Tensor) -> Tensor:
    """float64 [n]: mean_j |x_i − y_j|, in O((n + m) log m) by sorting y."""
    y = y.sort().values
    sums = torch.cat([y.new_zeros(1), y.cumsum(0)])
    below = torch.searchsorted(y, x)
    return (x * (2 * below - len(y)) + sums[-1] - 2 * sums[below]) / len(y)


class LengthEnergy:
    """``2 E|a − b| − E|a − a'| − E|b − b'|`` of log lengths, unbiased: twice the Cramér distance ∫ (F_q − F_p)².

    Székely and Rizzo 2013, "Energy statistics", equation 2.1. It is MMD² with the kernel −|a − b|.
    """

    def fit(self, human: Samples) -> None:
        self.human = log_lengths(human)
        self.human_within = float(_within(self.human).mean())

    def value(self, samples: Samples) -> float:
        return self.distance(log_lengths(samples))

    def distance(self, a: Tensor) -> float:
        """The discrepancy of log lengths a, float64 [n]."""
        return float(2 * mean_distance(a, self.human).mean() - _within(a).mean()) - self.human_within

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: ``2 mean_{a' ≠ a} |a − a'| − 2 mean_b |a − b|``."""
        a = log_lengths(samples)
        return (2 * (_within(a) - mean_distance(a, self.human))).float()


def _within(a: Tensor) -> Tensor:
    return mean_distance(a, a) * len(a) / (len(a) - 1)
