"""How much of texts can be put together again from their n-grams."""

from __future__ import annotations

import numpy as np

from dftfast.distribution.lexical import TOKENS
from dftfast.distribution.ngram_table import NGramTable
from dftfast.distribution.samples import Samples

RUN = 8  # tokens
MOST = 500  # texts that are tried, at random


def recovered_runs(texts: Samples, triples: NGramTable, tokens_known: bool) -> float:
    """The share of the runs of 8 tokens of the texts that follow from their first two.

    Whoever has the table of triples and two tokens of a text goes on with the third that the table
    has after them, as long as there is but one; this is the share of runs that are so recovered.

    Args:
        tokens_known: they know which tokens the text has, in no order, and go on with those alone.
            That is at most what its point among `lexical_points` tells.
    """
    chosen = np.random.default_rng(0).permutation(len(texts))[:MOST]
    found = [_recovered(texts.tokens_of(int(i)), triples.keys, tokens_known) for i in chosen]
    return sum(map(sum, found)) / max(sum(map(len, found)), 1)


def _recovered(tokens: list[int], keys: np.ndarray, tokens_known: bool) -> list[bool]:
    """Of each run of a text whether every step from its first two tokens has one way to go."""
    ids = np.array(tokens, dtype=np.int64)
    prefix = (ids[:-2] * TOKENS + ids[1:-1]) * TOKENS
    starts, ends = np.searchsorted(keys, prefix), np.searchsorted(keys, prefix + TOKENS)
    allowed = np.full(TOKENS, not tokens_known)
    allowed[ids] = True
    only = []
    for start, end, following in zip(starts.tolist(), ends.tolist(), tokens[2:]):
        ways = keys[start:end] % TOKENS
        only.append(ways[allowed[ways]].tolist() == [following])
    steps = RUN - 2
    return [all(only[i : i + steps]) for i in range(len(only) - steps + 1)]
