"""N-grams of weighted candidates against those of human texts, the own prompt left out."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from dftfast.distribution.ngram_table import NGramTable, ngram_keys, ngram_matrix
from dftfast.distribution.own_texts import OwnTexts
from dftfast.distribution.samples import Samples


class Counted:
    """The n-grams of one order of candidates x, and how often human texts y have those.

    Args:
        table: of the human texts.
        prompt: int [n], of each candidate.
        own: the human text of each prompt.
    """

    def __init__(
        self, n: int, candidates: Samples, table: NGramTable, prompt: np.ndarray, own: OwnTexts
    ):
        self.prompt, self.table, self.first = prompt, table, own.first
        self.x, keys = ngram_matrix(n, candidates.tokens, candidates.offsets)
        self.sizes = np.asarray(self.x.sum(1)).ravel()
        self.people = table.at(keys)
        lengths = np.array([len(tokens) for tokens in own.tokens])
        self.own_sizes = own.scale * np.maximum(lengths - n + 1, 0)
        self.own = _own_counts(n, own, keys)

    def witness(self, weights: np.ndarray, half: int | None) -> np.ndarray:
        x, of_q = self.x, self.x.T @ weights
        of_p = self.people.sum(0) if half is None else self.people[half]
        human = float(self.table.totals.sum() if half is None else self.table.totals[half])
        f_q = of_q / max(of_q.sum(), 1)
        gap = f_q - of_p / max(human, 1)
        # Against q and p without the own prompt.
        siblings = (self._by_prompt(weights) @ x).tocsr()[self.prompt]
        left = of_q.sum() - np.asarray(siblings.sum(1)).ravel()
        to_q = (x @ of_q - _row_products(x, siblings)) / np.maximum(left, 1)
        there = np.ones(len(self.first)) if half is None else self.first == (half == 0)
        same = self.own.multiply(np.asarray(there, np.float64)[:, None]).tocsr()[self.prompt]
        rest = human - (self.own_sizes * there)[self.prompt]
        to_p = (x @ of_p - _row_products(x, same)) / np.maximum(rest, 1)
        return -2 * (to_q - to_p - self.sizes * float(gap @ f_q)) / self.sizes.mean()

    def distance(self, weights: np.ndarray) -> float:
        """Products of one prompt with itself are left out, as in the witness."""
        x, table, human = self.x, self.table, float(self.table.totals.sum())
        of_q, of_p = x.T @ weights, self.people.sum(0)
        by_prompt = self._by_prompt(weights) @ x
        prompt_sizes = np.asarray(by_prompt.sum(1)).ravel()
        within = (of_q @ of_q - float(by_prompt.multiply(by_prompt).sum())) / _pairs(
            of_q.sum(), float(prompt_sizes @ prompt_sizes)
        )
        squares = float(np.square(table.counts.sum(0)).sum()) - table.squares
        among_people = squares / _pairs(human, table.squared_sizes)
        between = of_q @ of_p - weights @ _row_products(x, self.own[self.prompt])
        pairs = of_q.sum() * human - weights @ (self.sizes * self.own_sizes[self.prompt])
        return float(within + among_people - 2 * between / pairs)

    def _by_prompt(self, weights: np.ndarray):
        """csr [prompts, n]: what adds up the weighted candidates of each prompt."""
        return sparse.csr_matrix((weights, (self.prompt, np.arange(len(weights)))))


def _own_counts(n: int, own: OwnTexts, keys: np.ndarray):
    """csr [prompts, g]: how often the human text of each prompt has the n-grams, as scaled."""
    flat = torch.tensor([token for tokens in own.tokens for token in tokens], dtype=torch.int64)
    ends = np.cumsum([0, *map(len, own.tokens)])
    found, text = ngram_keys(n, flat, torch.from_numpy(ends))
    column = np.searchsorted(keys, found).clip(max=max(len(keys) - 1, 0))
    known = np.flatnonzero(keys[column] == found) if len(keys) else np.array([], dtype=np.int64)
    shape = (len(own.tokens), max(len(keys), 1))
    entries = (own.scale[text[known]], (text[known], column[known]))
    return sparse.csr_matrix(entries, shape)


def _row_products(a, b) -> np.ndarray:
    return np.asarray(a.multiply(b).sum(1)).ravel()


def _pairs(total: float, same: float) -> float:
    """Pairs of n-grams, of `total`, less those of one part with itself."""
    return max(total**2 - same, 1.0)
