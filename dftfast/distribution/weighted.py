"""First variations of several discrepancies at weighted candidates, summed by their reliability.

K candidates answer each of N prompts and carry weights, at first 1, later how much likelier the
policy has made them since they were drawn. A view compares that weighted population q with human
texts p; its witness, minus the first variation of its squared distance at a text, says how much the
population should have of it (DESIGN: a discrepancy is also a reward). A witness is unbiased: a
text's own prompt has no part in the means that it is held against, neither its human text nor the
other candidates, whose likeness is the prompt's doing.

Witnesses are compared within prompts alone: what a prompt asks for is not the policy's to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from dftfast.distribution.mmd import MMD, gaussian_kernel
from dftfast.distribution.ngram_table import ORDERS, first_half
from dftfast.distribution.own_texts import OwnTexts
from dftfast.distribution.private_target import FourierView, PrivateTarget
from dftfast.distribution.protocol import Points
from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Human
from dftfast.distribution.weighted_counts import Counted
from dftfast.kernels import rbf_witness

BLOCK = 1024  # rows of a kernel matrix that exist at a time


class View(Protocol):
    """One squared distance between weighted candidates and human texts."""

    def witness(self, weights: np.ndarray, half: int | None = None) -> np.ndarray:
        """float64 [n], up to a constant of each prompt.

        Args:
            weights: float64 [n], of the candidates.
            half: compare with one half of the human texts alone, 0 or 1.
        """
        ...

    def value(self, weights: np.ndarray) -> float:
        """The squared distance."""
        ...


class KernelView:
    """An MMD²: the witness is `2 mean_y k(x, y) − 2 mean_{x'} k(x, x')`.

    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012.

    Args:
        prompt: int [n], of each candidate.
        own: the human text of each prompt.
    """

    def __init__(
        self, mmd: MMD, candidates: Samples, human: Points, prompt: np.ndarray, own: OwnTexts
    ):
        mmd.fit(human)
        self.x, self.y, self.bandwidths = mmd.features(candidates), mmd.human, mmd.bandwidths
        self.prompt, self.own, self.human_within = prompt, own.row[prompt], mmd.human_within
        self.first = first_half(len(self.y))
        self.others = _Others(prompt)

    def witness(self, weights: np.ndarray, half: int | None = None) -> np.ndarray:
        return 2 * (self._towards(half) - self._among(weights) / self.others.sum(weights))

    def value(self, weights: np.ndarray) -> float:
        within = weights @ self._among(weights) / (weights @ self.others.sum(weights))
        towards = weights @ self._towards(None) / weights.sum()
        return float(within - 2 * towards) + self.human_within

    def _among(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n]: sum of the kernel to the candidates of other prompts, weighted."""
        prompt = torch.as_tensor(self.prompt, device=self.x.device)
        weight = torch.as_tensor(weights, dtype=torch.float64, device=self.x.device)
        sums = []
        for rows in torch.arange(len(self.x), device=self.x.device).split(BLOCK):
            kernel = gaussian_kernel(self.x[rows], self.x, self.bandwidths)
            kernel.masked_fill_(prompt[rows][:, None] == prompt, 0)
            sums.append(kernel.double() @ weight)
        return torch.cat(sums).cpu().numpy()

    def _towards(self, half: int | None) -> np.ndarray:
        """float64 [n]: mean kernel to the human texts of other prompts."""
        human = np.ones(len(self.y), dtype=bool) if half is None else self.first == (half == 0)
        rows = torch.as_tensor(np.flatnonzero(human), device=self.y.device)
        mean = rbf_witness(self.x, self.y[rows], self.bandwidths).mean(1).double().cpu().numpy()
        meets = np.flatnonzero((self.own >= 0) & human[self.own])
        if not len(meets):
            return mean
        own = torch.as_tensor(self.own[meets], device=self.y.device)
        pairs = (self.x[meets] - self.y[own]).square().sum(1, keepdim=True)
        kernel = torch.exp(-pairs / (2 * self.bandwidths.square())).mean(1).double().cpu().numpy()
        mean[meets] = (mean[meets] * len(rows) - kernel) / (len(rows) - 1)
        return mean


class NGramView:
    """`Σ_n ‖f_q − f_p‖²` of n-gram frequencies, n = 1, 2, 3, each in units of its witness.

    The witness of a text is `−2 Σ_g c(g) ((f_q − f_p)(g) − ⟨f_q − f_p, f_q⟩)` over its n-grams g.
    """

    def __init__(self, candidates: Samples, human: Human, prompt: np.ndarray, own: OwnTexts):
        self.prompt, self.scales = prompt, {}
        self.orders = [Counted(n, candidates, human.ngrams[n], prompt, own) for n in ORDERS]

    def witness(self, weights: np.ndarray, half: int | None = None) -> np.ndarray:
        total = np.zeros(len(self.prompt))
        for place, counted in enumerate(self.orders):
            r = centred(counted.witness(weights, half), self.prompt, weights)
            scale = self.scales.setdefault(place, _spread(r))
            total += r / scale
        return total

    def value(self, weights: np.ndarray) -> float:
        return sum(counted.distance(weights) for counted in self.orders)


class Witnesses:
    """The views of a phase, and the reward that they add up to.

    Args:
        prompt: of each candidate.
        completions: the human text of each prompt, as tokens.

    Attributes:
        reliability: of each view, between 0 and 1: how far witnesses that are fitted on two halves
            of the prompts and of the human texts agree (Spearman and Brown's correction makes the
            correlation of the halves that of the whole). A view enters the reward by it.
    """

    def __init__(
        self,
        candidates: Samples,
        human: Human,
        prompt: Sequence[int],
        completions: Sequence[Sequence[int]],
        seed: int,
    ):
        self.prompt = np.asarray(prompt)
        places = self.prompt, human.own(completions)
        self.views: dict[str, View] = _kernel_views(candidates, human, *places)
        self.views["ngram"] = NGramView(candidates, human, *places)
        alike = np.ones(len(self.prompt))
        self.scales = {
            name: _spread(centred(view.witness(alike), self.prompt, alike))
            for name, view in self.views.items()
        }
        self.reliability = {
            name: self._reliability(view, seed) for name, view in self.views.items()
        }

    def credits(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """float64 [n] of each view: its witness in units of the start's spread, by reliability.

        Centred within prompts, under the weights.
        """
        return {
            name: self.reliability[name]
            * centred(view.witness(weights), self.prompt, weights)
            / self.scales[name]
            for name, view in self.views.items()
        }

    def reward(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n]: the credits of all views together."""
        return np.sum(list(self.credits(weights).values()), axis=0)

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {name: view.value(weights) for name, view in self.views.items()}

    def _reliability(self, view: View, seed: int) -> float:
        rng = np.random.default_rng(seed)
        side = rng.permutation(self.prompt.max() + 1) % 2
        alike = np.ones(len(self.prompt))
        halves = [
            centred(view.witness((side == half)[self.prompt] + 1e-9, half), self.prompt, alike)
            for half in (0, 1)
        ]
        sizes = [np.sqrt(np.square(half).sum()) for half in halves]
        agreement = float(halves[0] @ halves[1] / max(sizes[0] * sizes[1], 1e-30))
        return max(0.0, 2 * agreement / (1 + agreement)) if agreement > -1 else 0.0


def _kernel_views(
    candidates: Samples, human: Human, prompt: np.ndarray, own: OwnTexts
) -> dict[str, View]:
    views: dict[str, View] = {}
    for name, (kind, points) in PrivateTarget.NAMES.items():
        if isinstance(human, PrivateTarget):
            views[name] = FourierView(human.views[name], getattr(candidates, points), prompt)
        else:
            views[name] = KernelView(kind(), candidates, human, prompt, own)
    return views


class _Others:
    """Sums over the candidates of other prompts."""

    def __init__(self, prompt: np.ndarray):
        self.prompt = prompt

    def sum(self, weights: np.ndarray) -> np.ndarray:
        return weights.sum() - np.bincount(self.prompt, weights)[self.prompt]


def centred(values: np.ndarray, prompt: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Less the weighted mean of the candidates of the prompt."""
    total = np.bincount(prompt, weights)
    mean = np.bincount(prompt, weights * values) / np.maximum(total, 1e-12)
    return values - mean[prompt]


def _spread(values: np.ndarray) -> float:
    return max(float(values.std()), 1e-30)
