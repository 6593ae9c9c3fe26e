"""Maximum mean discrepancy (Gretton et al. 2012, JMLR 13) of embeddings, tokens, style, prompts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.protocol import Points
from dftfast.distribution.samples import Samples
from dftfast.kernels import rbf_witness


def gaussian_kernel(x: Tensor, y: Tensor, bandwidths: Tensor) -> Tensor:
    """fp32 [n, m]: `exp(−|x − y|² / 2h²)` of the rows, averaged over the bandwidths h."""
    squared = torch.cdist(x.float(), y.float()).square()
    return torch.stack([torch.exp(-squared / (2 * h * h)) for h in bandwidths]).mean(0)


def median_bandwidth(y: Tensor, seed: int = 0, most: int = 2000) -> float:
    """The median heuristic: the median distance between rows of y [n, d], of `most` at random."""
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))[:most]
    return max(float(torch.pdist(y[rows.to(y.device)].float()).median()), 1e-6)


def mmd2_unbiased(x: Tensor, y: Tensor, bandwidths: Tensor) -> float:
    """Unbiased U-statistic of MMD² (equation 3) of x [n, d], y [m, d], averaged over bandwidths."""
    return float(
        _within(x, bandwidths) + _within(y, bandwidths) - 2 * rbf_witness(x, y, bandwidths).mean()
    )


def signed_root(mmd2):
    """The root of an estimate of MMD², a number or an array, that keeps its sign.

    Below zero means below the noise floor.
    """
    return np.sign(mmd2) * np.sqrt(np.abs(mmd2))


class MMD:
    """MMD² between embeddings of outputs and human texts, averaged over Gaussian kernels.

    Subclasses say in `features` what is compared.

    Args:
        factors: the bandwidths, in units of the median distance between human texts.
    """

    def __init__(self, factors: tuple[float, ...] = (1.0,)):
        self.factors = factors

    def fit(self, human: Points) -> None:
        self.human = self.features(human)
        self.bandwidths = median_bandwidth(self.human) * torch.tensor(
            self.factors, device=self.human.device
        )
        self.human_within = float(_within(self.human, self.bandwidths))

    def features(self, samples: Points) -> Tensor:
        """fp32 [n, d]: the points that the kernel is taken between."""
        return samples.embeddings

    def value(self, samples: Samples) -> float:
        """The unbiased estimate of MMD²; it may be negative."""
        x = self.features(samples)
        return float(_within(x, self.bandwidths) - 2 * self.towards(x).mean()) + self.human_within

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: `2 mean_y k(x, y) − 2 mean_{x' ≠ x} k(x, x')`.

        That is minus the first variation of MMD² at each sample.
        """
        x = self.features(samples)
        return 2 * (self.towards(x) - rbf_witness(x, x, self.bandwidths, True).mean(1))

    def towards(self, x: Tensor) -> Tensor:
        """fp32 [n]: mean kernel between each row of x and the human texts."""
        return rbf_witness(x, self.human, self.bandwidths).mean(1)


class StyleMMD(MMD):
    """MMD² over `style_features`, standardised by their mean and spread in human texts."""

    def fit(self, human: Points) -> None:
        self.mean, self.spread = human.style.mean(0), human.style.std(0).clamp(min=1e-3)
        super().fit(human)

    def features(self, samples: Points) -> Tensor:
        return ((samples.style - self.mean) / self.spread).clamp(-5, 5)


class LexicalMMD(MMD):
    """MMD² between the tokens that texts use, as `lexical_points`.

    N-gram L2 counts tokens in all texts together; this sees what goes together in one text and how
    much a text repeats itself.
    """

    def features(self, samples: Points) -> Tensor:
        return samples.lexical


def _within(x: Tensor, bandwidths: Tensor) -> Tensor:
    return rbf_witness(x, x, bandwidths, True).mean()
