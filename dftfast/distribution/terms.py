"""Discrepancies as terms of population selection: what exchanging one text for another costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.energy import Energy, mean_distance
from dftfast.distribution.mmd import MMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.samples import Samples
from dftfast.kernels import rbf_witness


class Term(Protocol):
    """One discrepancy while the population changes.

    Texts are named by their index among the candidates.
    """

    def start(self, chosen: np.ndarray) -> None:
        """Take `chosen` as the population."""

    def enter(self, number: int, block: np.ndarray) -> None:
        """Prepare for exchanges among the candidates `block`, the same ones for each `number`."""

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        """float64 [len(group)]: the discrepancy with `current` exchanged for each of `group`.

        It is up to a constant.
        """
        ...

    def exchange(self, current: int, new: int) -> None: ...

    def value(self, chosen: np.ndarray) -> float: ...


class KernelTerm:
    """An MMD²: a text costs `2/N · (Σ_{j≠i} k(x, x_j)/(N−1) − mean_y k(x, y))`.

    Kernel sums over the population are kept for every candidate. Those of a block are brought up to
    date when it is entered, from scratch or by the exchanges since it was left, whichever are
    fewer; inside the block every exchange adds the kernel to the new text and takes away that to
    the old one. Memory is O(candidates).
    """

    def __init__(self, mmd: MMD, candidates: Samples):
        self.mmd, self.x = mmd, mmd.features(candidates)
        self.towards = mmd.towards(self.x).double().cpu().numpy()
        self.rates = (-0.5 / mmd.bandwidths.double().square()).float().cpu().numpy()[:, None]
        self.sums, self.place = np.zeros(len(candidates)), np.zeros(len(candidates), dtype=np.int64)

    def start(self, chosen: np.ndarray) -> None:
        self.size, self.population = len(chosen), self._rows(chosen)
        self.row = {text: row for row, text in enumerate(chosen.tolist())}
        self.removed, self.added = [], []
        self.left_at, self.number = {}, None

    def enter(self, number: int, block: np.ndarray) -> None:
        self.left_at[self.number] = len(self.added)
        since = self.left_at.get(number)
        x = self._rows(block)
        if since is None or 2 * (len(self.added) - since) > self.size:
            self.sums[block] = self._kernel_sum(x, self.population)
        elif since < len(self.added):
            self.sums[block] += self._kernel_sum(x, self._rows(self.added[since:]))
            self.sums[block] -= self._kernel_sum(x, self._rows(self.removed[since:]))
        self.block, self.number, self.points = block, number, x.cpu().numpy()
        self.norms = np.einsum("id,id->i", self.points, self.points)
        self.place[block] = np.arange(len(block))

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        others = self.sums[group] - self._kernel(self.place[group], self.place[current])
        return 2 / self.size * (others / (self.size - 1) - self.towards[group])

    def exchange(self, current: int, new: int) -> None:
        everyone = slice(None)
        self.sums[self.block] += self._kernel(everyone, self.place[new]) - self._kernel(
            everyone, self.place[current]
        )
        self.removed.append(current)
        self.added.append(new)
        self.row[new] = self.row.pop(current)
        self.population[self.row[new]] = self.x[new]

    def value(self, chosen: np.ndarray) -> float:
        x = self._rows(chosen)
        within = float(rbf_witness(x, x, self.mmd.bandwidths, True).mean())
        return within - 2 * float(self.towards[chosen].mean()) + self.mmd.human_within

    def _rows(self, index) -> Tensor:
        return self.x[torch.as_tensor(index, device=self.x.device)]

    def _kernel(self, rows: np.ndarray | slice, one: int) -> np.ndarray:
        """Kernel between texts of the block and one of them."""
        squared = self.norms[rows] + self.norms[one] - 2 * (self.points[rows] @ self.points[one])
        return np.exp(self.rates * np.maximum(squared, 0)).mean(0)

    def _kernel_sum(self, x: Tensor, others: Tensor) -> np.ndarray:
        return (
            len(others) * rbf_witness(x, others, self.mmd.bandwidths).double().mean(1).cpu().numpy()
        )


class NGramTerm:
    """`‖C/T − p‖²` for one n: C the population's counts, T their sum, p human frequencies.

    It is exact, also in T. Rows leave out n-grams that occur in one candidate only: no other text
    of a population can share them, so they enter through `|c|²`, `c·p` and T of their candidate
    alone.
    """

    def __init__(self, ngram: NGramL2, n: int, candidates: Samples):
        keys, text, counts = text_ngrams(candidates, n, ngram.vocab)
        p = ngram.human_frequency(n, torch.from_numpy(keys)).numpy()
        size = len(candidates)
        self.total = np.bincount(text, counts, minlength=size)
        self.with_itself = np.bincount(text, counts**2, minlength=size)
        self.with_p = np.bincount(text, counts * p, minlength=size)
        self.p_squared = ngram.human_squared(n)
        _, grams, texts_with = np.unique(keys, return_inverse=True, return_counts=True)
        shared = texts_with[grams] > 1
        columns, self.grams = np.unique(grams[shared], return_inverse=True)
        self.columns, self.counts = len(columns), counts[shared]
        starts = np.searchsorted(text[shared], np.arange(len(candidates) + 1)).tolist()
        self.rows = [slice(*ends) for ends in pairwise(starts)]

    def start(self, chosen: np.ndarray) -> None:
        self.population = np.zeros(self.columns)
        self.squared = self.size = self.dot_p = 0.0
        for i in chosen.tolist():
            self._put(i, 1)

    def enter(self, number: int, block: np.ndarray) -> None:
        pass

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        row = self.rows[current]
        grams, counts = self.grams[row], self.counts[row]
        self.population[grams] -= counts
        dots = np.array([self._dot(i) for i in [*group.tolist(), current]])
        self.population[grams] += counts
        others = self.squared - 2 * dots[-1] - self.with_itself[current]
        squared = others + 2 * dots[:-1] + self.with_itself[group]
        dot_p = self.dot_p - self.with_p[current] + self.with_p[group]
        size = np.maximum(self.size - self.total[current] + self.total[group], 1)
        return squared / size**2 - 2 * dot_p / size

    def exchange(self, current: int, new: int) -> None:
        self._put(current, -1)
        self._put(new, 1)

    def value(self, chosen: np.ndarray) -> float:
        self.start(chosen)
        size = max(self.size, 1)  # of texts shorter than n there is none
        return self.squared / size**2 - 2 * self.dot_p / size + self.p_squared

    def _dot(self, i: int) -> float:
        row = self.rows[i]
        return float(self.population[self.grams[row]] @ self.counts[row])

    def _put(self, i: int, sign: int) -> None:
        """Put text i into the population (sign 1) or take it out (sign −1)."""
        row = self.rows[i]
        grams, counts = self.grams[row], self.counts[row]
        before = self.population[grams]
        after = before + sign * counts
        self.population[grams] = after
        others = before if sign > 0 else after
        self.squared += sign * (2 * (others @ counts) + self.with_itself[i])
        self.dot_p += sign * self.with_p[i]
        self.size += sign * self.total[i]


class EnergyTerm:
    """An energy distance, through the distance to the population of each value of the feature."""

    def __init__(self, energy: Energy, candidates: Samples):
        self.energy, self.feature = energy, energy.feature(candidates)
        grid, place = self.feature.unique(return_inverse=True)
        self.grid, self.place = grid.numpy(), place.numpy()
        self.towards = mean_distance(grid, energy.human).numpy()

    def start(self, chosen: np.ndarray) -> None:
        self.size = len(chosen)
        self.away = (
            self.size * mean_distance(torch.from_numpy(self.grid), self.feature[chosen]).numpy()
        )

    def enter(self, number: int, block: np.ndarray) -> None:
        pass

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        place = self.place[group]
        others = self.away[place] - np.abs(self.grid[place] - self.grid[self.place[current]])
        return 2 / self.size * (self.towards[place] - others / (self.size - 1))

    def exchange(self, current: int, new: int) -> None:
        grid, place = self.grid, self.place
        self.away += np.abs(grid - grid[place[new]]) - np.abs(grid - grid[place[current]])

    def value(self, chosen: np.ndarray) -> float:
        return self.energy.distance(self.feature[chosen])


class LinearTerm:
    """Mean of a score over the population, e.g. minus a classifier's logit."""

    def __init__(self, score: Tensor):
        self.score = score.double().cpu().numpy()

    def start(self, chosen: np.ndarray) -> None:
        self.size = len(chosen)

    def enter(self, number: int, block: np.ndarray) -> None:
        pass

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        return self.score[group] / self.size

    def exchange(self, current: int, new: int) -> None:
        pass

    def value(self, chosen: np.ndarray) -> float:
        return float(self.score[chosen].mean())


def text_ngrams(samples: Samples, n: int, vocab: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct n-grams of each text, text by text.

    Returns:
        Keys as in `ngram_counts`, the text of each, and float64 counts.
    """
    tokens, offsets = samples.tokens.numpy(), samples.offsets.numpy()
    text = np.repeat(np.arange(len(samples)), np.diff(offsets))
    begins = np.flatnonzero(np.arange(len(tokens)) + n <= offsets[1:][text])
    keys = np.zeros(len(begins), dtype=np.int64)
    for i in range(n):
        keys = keys * vocab + tokens[begins + i]
    order = np.lexsort((keys, text[begins]))
    keys, text = keys[order], text[begins][order]
    first = np.flatnonzero(
        np.append(True, (np.diff(keys) != 0) | (np.diff(text) != 0))[: len(keys)]
    )
    return keys[first], text[first], np.diff(first, append=len(keys)).astype(np.float64)
