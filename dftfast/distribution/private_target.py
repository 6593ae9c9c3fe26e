"""Targets that hold nothing of a single text: means of Fourier features, and common n-grams.

A Gaussian kernel is the mean over random frequencies ω of cos ω·(x − y) (Rahimi and Recht 2007,
"Random Features for Large-Scale Kernel Machines"), so that the mean over human texts of cos ω·y and
sin ω·y is all that a witness needs of them. With D frequencies a kernel is known to about
1/sqrt(2D); the same frequencies serve for both sides of a distance, whose error is then that share
of itself and not of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_table import ORDERS, NGramTable, first_half
from dftfast.distribution.own_texts import Known, OwnTexts, find_own
from dftfast.distribution.protocol import Points
from dftfast.distribution.samples import Samples

FREQUENCIES = 2048


@dataclass(frozen=True)
class FourierMean:
    """The mean of the Fourier features of human texts.

    Attributes:
        centre, spread: fp32 [d], what points are standardised by; empty where they are not.
        frequencies: fp32 [d, D], in units of the inverse bandwidth already.
        halves: fp32 [2, 2D], the mean over `first_half` and over the others.
        within: the mean kernel between two different texts.
    """

    centre: Tensor
    spread: Tensor
    frequencies: Tensor
    halves: Tensor
    within: float

    @classmethod
    def of(cls, mmd: MMD, human: Points, seed: int) -> FourierMean:
        """Of the points that `mmd` compares; its only bandwidth is the median distance."""
        mmd.fit(human)
        points = mmd.human.cpu()
        rng = np.random.default_rng(seed)
        drawn = rng.standard_normal((points.shape[1], FREQUENCIES), dtype=np.float32)
        frequencies = (torch.from_numpy(drawn) / mmd.bandwidths.cpu()[0]).half().float()
        first = torch.from_numpy(first_half(len(points)))
        features = torch.cat([_features(part, frequencies) for part in points.split(1024)])
        halves = torch.stack([features[first].mean(0), features[~first].mean(0)])
        standard = (mmd.mean.cpu(), mmd.spread.cpu()) if isinstance(mmd, StyleMMD) else ()
        centre, spread = standard or (torch.zeros(0), torch.zeros(0))
        return cls(centre, spread, frequencies, halves, _within(features))

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "centre": self.centre.numpy(),
            "spread": self.spread.numpy(),
            "frequencies": self.frequencies.numpy().astype(np.float16),
            "halves": self.halves.numpy(),
            "within": np.array([self.within]),
        }

    @classmethod
    def read(cls, take: Callable[[str], np.ndarray]) -> FourierMean:
        """Of the arrays of another, by name."""
        tensor = lambda name: torch.from_numpy(take(name).astype(np.float32))
        return cls(
            tensor("centre"),
            tensor("spread"),
            tensor("frequencies"),
            tensor("halves"),
            float(take("within")[0]),
        )

    def features(self, points: Tensor) -> Tensor:
        """fp32 [n, 2D], of points fp32 [n, d] on the CPU; standardised ones are clipped to 5."""
        if len(self.spread):
            points = ((points - self.centre) / self.spread).clamp(-5, 5)
        return torch.cat([_features(part, self.frequencies) for part in points.split(1024)])


@dataclass(frozen=True)
class PrivateTarget:
    """What a target reveals of all texts together.

    Attributes:
        views: by name, the means of what MMD, LexicalMMD and StyleMMD compare.
        ngrams: those that many texts have.
    """

    NAMES: ClassVar[dict[str, tuple[type[MMD], str]]] = {
        "mmd": (MMD, "embeddings"),
        "lexical": (LexicalMMD, "lexical"),
        "style": (StyleMMD, "style"),
    }
    views: dict[str, FourierMean]
    ngrams: dict[int, NGramTable]

    @classmethod
    def of(cls, samples: Samples, least: int) -> PrivateTarget:
        """Args: least: texts that an n-gram must be in to be kept."""
        return cls(
            {
                name: FourierMean.of(kind(), samples, seed)
                for seed, (name, (kind, _)) in enumerate(cls.NAMES.items())
            },
            {n: NGramTable.of(n, samples.tokens, samples.offsets, least) for n in ORDERS},
        )

    def own(self, completions: Sequence[Sequence[int]]) -> OwnTexts:
        """None is known."""
        return find_own(completions, Known.plain(np.zeros(0, np.int64)))


class FourierView:
    """An MMD² of weighted candidates from a mean of Fourier features (`weighted.View`)."""

    def __init__(self, mean: FourierMean, points: Tensor, prompt: np.ndarray):
        self.mean, self.prompt = mean, prompt
        self.x = mean.features(points.float().cpu())

    def witness(self, weights: np.ndarray, half: int | None = None) -> np.ndarray:
        return 2 * (self._towards(half) - self._among(weights) / self._others(weights))

    def value(self, weights: np.ndarray) -> float:
        within = weights @ self._among(weights) / (weights @ self._others(weights))
        towards = weights @ self._towards(None) / weights.sum()
        return float(within - 2 * towards) + self.mean.within

    def _towards(self, half: int | None) -> np.ndarray:
        """float64 [n]: mean kernel to the human texts."""
        halves = self.mean.halves
        return (self.x @ (halves.mean(0) if half is None else halves[half])).double().numpy()

    def _among(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n]: sum of the kernel to the candidates of other prompts, weighted."""
        weighted = self.x * torch.from_numpy(weights).float()[:, None]
        prompt = torch.from_numpy(self.prompt)
        of_prompt = torch.zeros(int(prompt.max()) + 1, self.x.shape[1])
        of_prompt.index_add_(0, prompt, weighted)
        towards_all = self.x @ weighted.sum(0)
        return (towards_all - (self.x * of_prompt[prompt]).sum(1)).double().numpy()

    def _others(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n]: the weight of the candidates of other prompts."""
        return weights.sum() - np.bincount(self.prompt, weights)[self.prompt]


def _features(points: Tensor, frequencies: Tensor) -> Tensor:
    """fp32 [n, 2D], whose products are kernels."""
    angles = points @ frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1) / frequencies.shape[1] ** 0.5


def _within(features: Tensor) -> float:
    """The mean product of two different rows."""
    n, total = len(features), features.double().sum(0)
    return float((total @ total - features.double().square().sum()) / (n * (n - 1)))
