"""How often texts have each n-gram of tokens, as sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from dftfast.distribution.samples import Samples

# No supported model has as large a vocabulary (Qwen3: 151,936); the cube of it is below 2⁶³.
TOKENS = 2**18


def ngram_matrices(n: int, parts: Sequence[Samples]) -> list[Any]:
    """csr [texts, g] of each part; the columns are the n-grams that occur, the same for all."""
    texts = Samples.concat(parts)
    tokens, lengths = texts.tokens.numpy(), texts.lengths.numpy()
    text = np.repeat(np.arange(len(texts)), lengths)
    inside = np.arange(len(tokens)) - np.repeat(texts.offsets.numpy()[:-1], lengths) >= n - 1
    ends = np.flatnonzero(inside)
    key = np.zeros(len(ends), dtype=np.int64)
    for back in range(n - 1, -1, -1):
        key = key * TOKENS + tokens[ends - back]
    kinds, column = np.unique(key, return_inverse=True)
    shape = (len(texts), max(len(kinds), 1))
    counts = sparse.csr_matrix((np.ones(len(ends)), (text[ends], column)), shape)
    starts = np.cumsum([0, *map(len, parts)])
    return [counts[start:end] for start, end in pairwise(starts)]
