"""N-grams of tokens by keys, and how often human texts have each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor

from dftfast.distribution.lexical import TOKENS

ORDERS = (1, 2, 3)


def ngram_keys(n: int, tokens: Tensor, offsets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(key, text) of every n-gram, int64 [total] each.

    The digits of a key to base `TOKENS` are its tokens.
    """
    ids, lengths = tokens.numpy(), offsets.diff().numpy()
    text = np.repeat(np.arange(len(lengths)), lengths)
    inside = np.arange(len(ids)) - np.repeat(offsets.numpy()[:-1], lengths) >= n - 1
    ends = np.flatnonzero(inside)
    key = np.zeros(len(ends), dtype=np.int64)
    for back in range(n - 1, -1, -1):
        key = key * TOKENS + ids[ends - back]
    return key, text[ends]


def ngram_matrix(n: int, tokens: Tensor, offsets: Tensor) -> tuple[Any, np.ndarray]:
    """csr [texts, g], and the keys int64 [g] of the n-grams that occur, ascending."""
    key, text = ngram_keys(n, tokens, offsets)
    kinds, column = np.unique(key, return_inverse=True)
    shape = (len(offsets) - 1, max(len(kinds), 1))
    return sparse.csr_matrix((np.ones(len(key)), (text, column)), shape), kinds


def first_half(texts: int) -> np.ndarray:
    """bool [texts]: a half at random, the same for every set of so many texts."""
    return np.random.default_rng(0).permutation(texts) % 2 == 0


@dataclass(frozen=True)
class NGramTable:
    """How often human texts have each n-gram, in all texts of a half together.

    Attributes:
        keys: int64 [g], ascending.
        counts: float64 [2, g], of `first_half` and of the other.
        totals: float64 [2], n-grams of each half; more than the counts where rare ones are missing.
        squares: the sum of the squared counts of each text.
        squared_sizes: the sum of the squared numbers of n-grams of each text.
    """

    keys: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    squares: float
    squared_sizes: float

    @classmethod
    def of(cls, n: int, tokens: Tensor, offsets: Tensor, least: int = 1) -> NGramTable:
        """Of all texts; n-grams that fewer than `least` texts have are left out."""
        counts, keys = ngram_matrix(n, tokens, offsets)
        first = first_half(counts.shape[0]).astype(np.float64)
        halves = np.stack([counts.T @ first, counts.T @ (1 - first)])
        sizes = np.asarray(counts.sum(1)).ravel()
        if least > 1:
            kept = np.flatnonzero(counts.getnnz(0) >= least)
            counts, keys, halves = counts[:, kept], keys[kept], halves[:, kept]
        return cls(
            keys,
            halves[:, : len(keys)],
            np.array([sizes @ first, sizes @ (1 - first)]),
            float(counts.multiply(counts).sum()),
            float(sizes @ sizes),
        )

    @staticmethod
    def mixture(tables: list[NGramTable], scales: list[float]) -> NGramTable:
        """The texts of each table counted so many times."""
        keys = np.unique(np.concatenate([table.keys for table in tables]))
        counts = sum(scale * table.at(keys) for table, scale in zip(tables, scales))
        totals = sum(scale * table.totals for table, scale in zip(tables, scales))
        squared = lambda name: sum(s * s * getattr(t, name) for t, s in zip(tables, scales))
        return NGramTable(
            keys,
            np.asarray(counts),
            np.asarray(totals),
            squared("squares"),
            squared("squared_sizes"),
        )

    def at(self, keys: np.ndarray) -> np.ndarray:
        """float64 [2, len(keys)]: the counts of these n-grams."""
        if not len(self.keys):
            return np.zeros((2, len(keys)))
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.counts[:, place], 0.0)
