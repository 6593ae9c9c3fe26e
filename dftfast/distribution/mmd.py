"""Maximum mean discrepancy of embeddings (Gretton et al. 2012, JMLR 13) and its witness."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import rbf_witness
from .samples import Samples


def median_bandwidth(y: Tensor, seed: int = 0, most: int = 2000) -> float:
    """Median distance between pairs of rows of y [n, d] (of ``most`` random rows): the median heuristic."""
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))[:most]
    return max(float(torch.pdist(y[rows].float()).median()), 1e-6)


def mmd2_unbiased(x: Tensor, y: Tensor, bandwidths: Tensor) -> float:
    """Unbiased U-statistic of MMD² between x [n, d] and y [m, d], averaged over the bandwidths (equation 3)."""
    within = rbf_witness(x, x, bandwidths, True).mean() + rbf_witness(y, y, bandwidths, True).mean()
    return float(within - 2 * rbf_witness(x, y, bandwidths).mean())


class MMD:
    """MMD² between embeddings of outputs and of human texts; bandwidth = median of human distances × factors."""

    def __init__(self, factors: tuple[float, ...] = (1.0,)):
        self.factors = factors

    def fit(self, human: Samples) -> None:
        self.human = human.embeddings
        self.bandwidths = median_bandwidth(self.human) * torch.tensor(self.factors)

    def value(self, samples: Samples) -> float:
        return mmd2_unbiased(samples.embeddings, self.human, self.bandwidths)

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: ``2 mean_y k(x, y) − 2 mean_{x' ≠ x} k(x, x')``, minus the first variation of MMD² at each sample."""
        x = samples.embeddings
        towards = rbf_witness(x, self.human, self.bandwidths).mean(1)
        away = rbf_witness(x, x, self.bandwidths, True).mean(1)
        return 2 * (towards - away)
