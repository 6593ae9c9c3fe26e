"""Population selection: of several candidates for each prompt choose one, so that the chosen are like human text.

The chosen population S minimises ``J(S) = Σ_m w_m D_m(S, human)`` by coordinate descent, prompt after prompt, on
exact costs of exchanging one text. Each D_m is quadratic or linear in the empirical measure of S, so an exchange
costs a few sums (kernel herding, Chen et al. 2010, https://arxiv.org/abs/1203.3472, under a one-per-prompt
constraint).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..kernels import rbf_witness
from .classifier import DensityRatio
from .mmd import MMD
from .ngram import NGramL2
from .samples import Samples

BLOCK = 256  # prompts whose candidates' kernel matrix is held at once


class Term(Protocol):
    """One weighted discrepancy while the population changes. Indices are those of candidates."""

    def enter(self, block: np.ndarray, chosen: np.ndarray) -> None:
        """Prepare for exchanges among the candidates ``block``; ``chosen`` is the population now."""

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        """J of the population with ``current`` exchanged for each of ``group``, up to a common constant."""

    def exchange(self, current: int, new: int) -> None: ...

    def value(self, chosen: np.ndarray) -> float: ...


class MMDTerm:
    """MMD²(S, human): exchanging costs ``2/N · (mean_{j≠i} k(x, x_j) − mean_y k(x, y))``, exactly."""

    def __init__(self, mmd: MMD, candidates: Samples):
        self.mmd, self.x = mmd, candidates.embeddings
        self.towards = rbf_witness(self.x, mmd.human, mmd.bandwidths).mean(1).double().numpy()

    def enter(self, block: np.ndarray, chosen: np.ndarray) -> None:
        x = self.x[torch.from_numpy(block)]
        self.size = len(chosen)
        self.place = {int(candidate): i for i, candidate in enumerate(block)}
        within = sum(torch.exp(-torch.cdist(x, x).square() / (2 * h * h)) for h in self.mmd.bandwidths)
        self.kernel = (within / len(self.mmd.bandwidths)).double().numpy()
        population = self.x[torch.from_numpy(chosen)]
        self.sums = self.size * rbf_witness(x, population, self.mmd.bandwidths).mean(1).double().numpy()

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        rows = [self.place[int(i)] for i in group]
        others = self.sums[rows] - self.kernel[rows, self.place[int(current)]]
        return 2 / self.size * (others / (self.size - 1) - self.towards[group])

    def exchange(self, current: int, new: int) -> None:
        self.sums += self.kernel[:, self.place[int(new)]] - self.kernel[:, self.place[int(current)]]

    def value(self, chosen: np.ndarray) -> float:
        x = self.x[torch.from_numpy(chosen)]
        human = rbf_witness(self.mmd.human, self.mmd.human, self.mmd.bandwidths, True).mean()
        within = rbf_witness(x, x, self.mmd.bandwidths, True).mean() + human
        return float(within) - 2 * float(self.towards[chosen].mean())


class NGramTerm:
    """``‖C/T − p‖²`` for one n: C counts of the population, T their sum, p human frequencies. Exact, also in T."""

    def __init__(self, ngram: NGramL2, n: int, candidates: Samples):
        self.starts, self.grams, self.counts, keys = sparse_counts(candidates, n, ngram.vocab)
        self.p = ngram.human_frequency(n, torch.from_numpy(keys)).numpy()
        known, human = ngram.human[n]
        self.p_squared = float(((human.double() / human.sum()) ** 2).sum())
        self.total = self._by_candidate(self.counts)
        self.with_p = self._by_candidate(self.counts * self.p[self.grams])
        self.with_itself = self._by_candidate(self.counts**2)

    def _by_candidate(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.append(values, 0.0), self.starts[:-1]) * (np.diff(self.starts) > 0)

    def enter(self, block: np.ndarray, chosen: np.ndarray) -> None:
        self.population = np.zeros(len(self.p))
        for i in chosen:
            part = slice(self.starts[i], self.starts[i + 1])
            self.population[self.grams[part]] += self.counts[part]
        self.squared = self.population @ self.population
        self.dot_p, self.size = self.population @ self.p, self.population.sum()

    def _dot(self, i: int) -> float:
        part = slice(self.starts[i], self.starts[i + 1])
        return self.population[self.grams[part]] @ self.counts[part]

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        part = slice(self.starts[current], self.starts[current + 1])
        self.population[self.grams[part]] -= self.counts[part]
        without = self.squared - 2 * self._dot(current) - self.with_itself[current]
        squared = without + 2 * np.array([self._dot(i) for i in group]) + self.with_itself[group]
        self.population[self.grams[part]] += self.counts[part]
        dot_p = self.dot_p - self.with_p[current] + self.with_p[group]
        size = np.maximum(self.size - self.total[current] + self.total[group], 1)
        return squared / size**2 - 2 * dot_p / size

    def exchange(self, current: int, new: int) -> None:
        for i, sign in ((current, -1), (new, 1)):
            part = slice(self.starts[i], self.starts[i + 1])
            self.squared += sign * 2 * self._dot(i) + self.with_itself[i]
            self.population[self.grams[part]] += sign * self.counts[part]
            self.dot_p += sign * self.with_p[i]
            self.size += sign * self.total[i]

    def value(self, chosen: np.ndarray) -> float:
        self.enter(chosen, chosen)
        return float(self.squared / self.size**2 - 2 * self.dot_p / self.size + self.p_squared)


class LinearTerm:
    """Mean of a score over the population, e.g. minus a classifier's logit."""

    def __init__(self, score: Tensor):
        self.score = score.double().numpy()

    def enter(self, block: np.ndarray, chosen: np.ndarray) -> None:
        self.size = len(chosen)

    def costs(self, group: np.ndarray, current: int) -> np.ndarray:
        return self.score[group] / self.size

    def exchange(self, current: int, new: int) -> None:
        pass

    def value(self, chosen: np.ndarray) -> float:
        return float(self.score[chosen].mean())


def make_terms(candidates: Samples, human: Samples, vocab: int, weights) -> dict[str, tuple[float, Term]]:
    """Name -> (weight, term) for the weights that are not zero."""
    terms: dict[str, tuple[float, Term]] = {}
    if weights.mmd:
        mmd = MMD()
        mmd.fit(human)
        terms["mmd"] = (weights.mmd, MMDTerm(mmd, candidates))
    if weights.ngram:
        ngram = NGramL2(vocab)
        ngram.fit(human)
        for n in ngram.sizes:
            terms[f"ngram{n}"] = (weights.ngram, NGramTerm(ngram, n, candidates))
    if weights.classifier:
        ratio = DensityRatio()
        ratio.fit(human)
        terms["classifier"] = (weights.classifier, LinearTerm(-ratio.witness(candidates)))
    return terms


def select_population(
    prompt: list[int], terms: dict[str, tuple[float, Term]], seed: int, sweeps: int = 8
) -> tuple[list[int], list[dict]]:
    """Choose one candidate for each prompt.

    Args:
        prompt: the prompt of each candidate, in any numbering.
        terms: from ``make_terms``.
        sweeps: passes over the prompts at most; it stops when a pass changes nothing.

    Returns:
        The chosen candidates in the order of their prompts, and a record for the random start and each sweep
        (J, the value of each term, exchanges made).
    """
    rng = np.random.default_rng(seed)
    prompts = np.asarray(prompt)
    groups = [np.flatnonzero(prompts == p) for p in np.unique(prompts)]
    chosen = np.array([rng.choice(group) for group in groups])

    def record(exchanges: int) -> dict:
        values = {name: term.value(chosen) for name, (_, term) in terms.items()}
        return {"J": sum(terms[name][0] * value for name, value in values.items()), **values, "exchanges": exchanges}

    records = [record(0)]
    for _ in range(sweeps):
        exchanges = 0
        order = rng.permutation(len(groups))
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            block = np.concatenate([groups[p] for p in part])
            for _, term in terms.values():
                term.enter(block, chosen)
            for p in part:
                current = chosen[p]
                costs = sum(weight * term.costs(groups[p], current) for weight, term in terms.values())
                new = groups[p][int(np.argmin(costs))]
                if costs.min() < costs[groups[p] == current][0]:
                    for _, term in terms.values():
                        term.exchange(current, new)
                    chosen[p] = new
                    exchanges += 1
        records.append(record(exchanges))
        if not exchanges:
            break
    return chosen.tolist(), records


def sparse_counts(samples: Samples, n: int, vocab: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """n-grams of each text as rows of a sparse matrix: (row starts [texts + 1], gram ids, counts, key of each id)."""
    tokens, offsets = samples.tokens.numpy(), samples.offsets.numpy()
    text = np.repeat(np.arange(len(samples)), np.diff(offsets))
    end = offsets[1:][text]
    position = np.arange(len(tokens))
    inside = position + n <= end
    keys = np.zeros(int(inside.sum()), dtype=np.int64)
    for i in range(n):
        keys = keys * vocab + tokens[position[inside] + i]
    vocabulary, grams = np.unique(keys, return_inverse=True)
    pairs, counts = np.unique(text[inside] * len(vocabulary) + grams, return_counts=True)
    rows, columns = np.divmod(pairs, max(len(vocabulary), 1))
    starts = np.searchsorted(rows, np.arange(len(samples) + 1))
    return starts, columns, counts.astype(np.float64), vocabulary
