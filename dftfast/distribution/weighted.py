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
from scipy import sparse

from dftfast.distribution.counts import ngram_matrices
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD, gaussian_kernel
from dftfast.distribution.samples import Samples
from dftfast.kernels import rbf_witness

BLOCK = 1024  # rows of a kernel matrix that exist at a time


class View(Protocol):
    """One squared distance between weighted candidates and human texts."""

    def witness(self, weights: np.ndarray, human: np.ndarray) -> np.ndarray:
        """float64 [n], up to a constant of each prompt.

        Args:
            weights: float64 [n], of the candidates.
            human: bool [m], the human texts to compare with.
        """
        ...

    def value(self, weights: np.ndarray) -> float:
        """The squared distance."""
        ...


class KernelView:
    """An MMD²: the witness is `2 mean_y k(x, y) − 2 mean_{x'} k(x, x')`.

    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012.

    Args:
        prompt: int [n], of each candidate; own: int [n], the human text of its prompt among
            `human`, or -1.
    """

    def __init__(
        self, mmd: MMD, candidates: Samples, human: Samples, prompt: np.ndarray, own: np.ndarray
    ):
        mmd.fit(human)
        self.x, self.y, self.bandwidths = mmd.features(candidates), mmd.human, mmd.bandwidths
        self.prompt, self.own, self.human_within = prompt, own, mmd.human_within
        self.others = _Others(prompt)

    def witness(self, weights: np.ndarray, human: np.ndarray) -> np.ndarray:
        return 2 * (self._towards(human) - self._among(weights) / self.others.sum(weights))

    def value(self, weights: np.ndarray) -> float:
        everyone = np.ones(len(self.y), dtype=bool)
        within = weights @ self._among(weights) / (weights @ self.others.sum(weights))
        towards = weights @ self._towards(everyone) / weights.sum()
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

    def _towards(self, human: np.ndarray) -> np.ndarray:
        """float64 [n]: mean kernel to the human texts of other prompts."""
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

    def __init__(self, candidates: Samples, human: Samples, prompt: np.ndarray, own: np.ndarray):
        self.prompt, self.own, self.scales = prompt, own, {}
        self.counts = [ngram_matrices(n, [candidates, human]) for n in (1, 2, 3)]

    def witness(self, weights: np.ndarray, human: np.ndarray) -> np.ndarray:
        total = np.zeros(len(self.prompt))
        for order, (x, y) in enumerate(self.counts):
            r = centred(self._one(x, y, weights, human), self.prompt, weights)
            scale = self.scales.setdefault(order, _spread(r))
            total += r / scale
        return total

    def value(self, weights: np.ndarray) -> float:
        return sum(self._distance(x, y, weights) for x, y in self.counts)

    def _distance(self, x, y, weights: np.ndarray) -> float:
        """Products of one prompt with itself are left out, as in the witness."""
        sizes, human_sizes = (np.asarray(c.sum(1)).ravel() for c in (x, y))
        of_q, of_p = x.T @ weights, np.asarray(y.sum(0)).ravel()
        by_prompt = self._by_prompt(weights) @ x
        prompt_sizes = np.asarray(by_prompt.sum(1)).ravel()
        known = np.flatnonzero(self.own >= 0)
        own, held = y[self.own[known]], weights[known]
        within = (of_q @ of_q - _squares(by_prompt)) / _pairs(of_q.sum(), prompt_sizes)
        among_people = (of_p @ of_p - _squares(y)) / _pairs(of_p.sum(), human_sizes)
        between = of_q @ of_p - held @ _row_products(x[known], own)
        pairs = of_q.sum() * of_p.sum() - held @ (sizes[known] * human_sizes[self.own[known]])
        return float(within + among_people - 2 * between / pairs)

    def _by_prompt(self, weights: np.ndarray):
        """csr [prompts, n]: what adds up the weighted candidates of each prompt."""
        return sparse.csr_matrix((weights, (self.prompt, np.arange(len(weights)))))

    def _one(self, x, y, weights: np.ndarray, human: np.ndarray) -> np.ndarray:
        sizes = np.asarray(x.sum(1)).ravel()
        of_q, of_p = x.T @ weights, y.T @ human.astype(np.float64)
        f_q = _frequencies(of_q)
        gap = f_q - _frequencies(of_p)
        # Against q and p without the own prompt.
        siblings = (self._by_prompt(weights) @ x).tocsr()[self.prompt]
        left = of_q.sum() - np.asarray(siblings.sum(1)).ravel()
        to_q = (x @ of_q - _row_products(x, siblings)) / np.maximum(left, 1)
        meets = (self.own >= 0) & human[self.own]
        same = y[np.where(meets, self.own, 0)].multiply(meets[:, None]).tocsr()
        rest = of_p.sum() - np.asarray(same.sum(1)).ravel()
        to_p = (x @ of_p - _row_products(x, same)) / np.maximum(rest, 1)
        return -2 * (to_q - to_p - sizes * float(gap @ f_q)) / sizes.mean()


class Witnesses:
    """The views of a phase, and the reward that they add up to.

    Attributes:
        reliability: of each view, between 0 and 1: how far witnesses that are fitted on two halves
            of the prompts and of the human texts agree (Spearman and Brown's correction makes the
            correlation of the halves that of the whole). A view enters the reward by it.
    """

    def __init__(
        self,
        candidates: Samples,
        human: Samples,
        prompt: Sequence[int],
        own: Sequence[int],
        seed: int,
    ):
        self.prompt = np.asarray(prompt)
        places = self.prompt, np.asarray(own)[self.prompt]
        self.human = len(human)
        self.views: dict[str, View] = {
            "mmd": KernelView(MMD(), candidates, human, *places),
            "lexical": KernelView(LexicalMMD(), candidates, human, *places),
            "style": KernelView(StyleMMD(), candidates, human, *places),
            "ngram": NGramView(candidates, human, *places),
        }
        everyone, alike = np.ones(self.human, dtype=bool), np.ones(len(self.prompt))
        self.scales = {
            name: _spread(centred(view.witness(alike, everyone), self.prompt, alike))
            for name, view in self.views.items()
        }
        self.reliability = {
            name: self._reliability(view, seed) for name, view in self.views.items()
        }

    def reward(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n]: the witnesses in units of their spread at the start, by reliability.

        Centred within prompts, under the weights.
        """
        everyone, total = np.ones(self.human, dtype=bool), np.zeros(len(weights))
        for name, view in self.views.items():
            r = centred(view.witness(weights, everyone), self.prompt, weights)
            total += self.reliability[name] * r / self.scales[name]
        return total

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {name: view.value(weights) for name, view in self.views.items()}

    def _reliability(self, view: View, seed: int) -> float:
        rng = np.random.default_rng(seed)
        first_prompts = rng.permutation(self.prompt.max() + 1) % 2 == 0
        first_human = rng.permutation(self.human) % 2 == 0
        alike = np.ones(len(self.prompt))
        halves = [
            centred(
                view.witness((first_prompts == half)[self.prompt] + 1e-9, human), self.prompt, alike
            )
            for half, human in ((True, first_human), (False, ~first_human))
        ]
        sizes = [np.sqrt(np.square(half).sum()) for half in halves]
        agreement = float(halves[0] @ halves[1] / max(sizes[0] * sizes[1], 1e-30))
        return max(0.0, 2 * agreement / (1 + agreement)) if agreement > -1 else 0.0


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


def _row_products(a, b) -> np.ndarray:
    return np.asarray(a.multiply(b).sum(1)).ravel()


def _squares(a) -> float:
    return float(a.multiply(a).sum())


def _pairs(total: float, sizes: np.ndarray) -> float:
    """Pairs of n-grams, of `total`, that are not both of one part of these sizes."""
    return max(total**2 - float(sizes @ sizes), 1.0)


def _frequencies(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1)
