"""How often texts have each n-gram of tokens, as sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dftfast.distribution.ngram_table import ngram_matrix
from dftfast.distribution.samples import Samples


def ngram_matrices(n: int, parts: Sequence[Samples]) -> list[Any]:
    """csr [texts, g] of each part; the columns are the n-grams that occur, the same for all."""
    texts = Samples.concat(parts)
    counts, _ = ngram_matrix(n, texts.tokens, texts.offsets)
    starts = np.cumsum([0, *map(len, parts)])
    return [counts[start:end] for start, end in pairwise(starts)]
