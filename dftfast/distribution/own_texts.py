"""The human text of a prompt among those of a reference, found by a hash of its tokens.

A witness at an answer leaves the human text of its own prompt out of what it compares with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dftfast.distribution.ngram_table import first_half


class OwnTexts(NamedTuple):
    """Of each of p prompts its human text.

    Attributes:
        tokens: the text.
        row: int [p], its place among the points of the reference, or -1.
        scale: float64 [p], how often the n-grams of the reference count it; 0 where it is not in.
        first: bool [p], whether it is in the first half of the n-grams.
    """

    tokens: Sequence[Sequence[int]]
    row: np.ndarray
    scale: np.ndarray
    first: np.ndarray


class Known(NamedTuple):
    """The texts of a reference: hashes int64 [k], and of each what `OwnTexts` has."""

    keys: np.ndarray
    row: np.ndarray
    scale: np.ndarray
    first: np.ndarray

    @classmethod
    def plain(cls, keys: np.ndarray) -> Known:
        """Every text a point, and counted once."""
        count = len(keys)
        return cls(keys, np.arange(count), np.ones(count), first_half(count))


def text_key(tokens: Sequence[int]) -> int:
    digest = hashlib.blake2b(np.asarray(tokens, "<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def text_keys(tokens: Tensor, offsets: Tensor) -> np.ndarray:
    """int64 [n]; tokens and offsets as in `Samples`."""
    ids, bounds = tokens.tolist(), offsets.tolist()
    return np.array([text_key(ids[a:b]) for a, b in pairwise(bounds)], dtype=np.int64)


def find_own(completions: Sequence[Sequence[int]], known: Known) -> OwnTexts:
    """Which of the known texts these are; of equal ones the last."""
    place = {key: i for i, key in enumerate(known.keys.tolist())}
    found = np.array([place.get(text_key(each), -1) for each in completions], dtype=np.int64)
    there = found >= 0
    take = lambda values, other: (
        np.where(there, values[found], other) if len(values) else (np.full(len(found), other))
    )
    return OwnTexts(
        completions, take(known.row, -1), take(known.scale, 0.0), take(known.first, False)
    )
