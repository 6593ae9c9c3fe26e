"""3-gram counting and look-up beside collections.Counter and numpy.unique; limits: 20x and 2.5x."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from paired import record

from dftfast.kernels import ngram_counts, ngram_jsd, ngram_l2, ngram_lookup

VOCAB = 49152
SIZE = 500_000


@pytest.fixture(scope="module")
def corpus():
    """Tokens distributed like text (Zipf), in documents of 20 to 400 tokens."""
    generator = np.random.default_rng(0)
    tokens = generator.permutation(VOCAB)[np.minimum(generator.zipf(1.15, SIZE), VOCAB) - 1].astype(
        np.int64
    )
    cuts = np.cumsum(generator.integers(20, 400, SIZE // 100))
    offsets = np.concatenate([[0], cuts[cuts < SIZE], [SIZE]])
    return tokens, offsets


def numpy_counts(tokens, offsets):
    keys = (tokens[:-2] * VOCAB + tokens[1:-1]) * VOCAB + tokens[2:]
    inside = np.ones(len(tokens), dtype=bool)
    inside[offsets[1:-1] - 1] = inside[offsets[1:-1] - 2] = False
    return np.unique(keys[inside[:-2]], return_counts=True)


def counter_counts(tokens, offsets):
    documents = [tokens[a:b].tolist() for a, b in pairwise(offsets)]
    return Counter(gram for d in documents for gram in zip(d, d[1:], d[2:]))


def test_three_gram_counts(benchmark, corpus):
    tokens, offsets = map(torch.from_numpy, corpus)
    calls = {
        "ngram_counts": lambda: ngram_counts(tokens, offsets, 3, VOCAB),
        "numpy.unique": lambda: numpy_counts(*corpus),
        "collections.Counter": lambda: counter_counts(*corpus),
    }
    benchmark.extra_info["limits"] = "numpy.unique at least 2.5, collections.Counter at least 20"
    record(benchmark, calls)


def test_three_gram_lookup(benchmark, corpus):
    tokens, offsets = map(torch.from_numpy, corpus)
    keys, counts = ngram_counts(tokens, offsets, 3, VOCAB)
    values = counts.float()
    grams = ((tokens[:-2] * VOCAB + tokens[1:-1]) * VOCAB + tokens[2:]).numpy()
    known, numbers = keys.numpy(), values.numpy()
    calls = {
        "ngram_lookup": lambda: ngram_lookup(tokens, offsets, 3, VOCAB, keys, values),
        "numpy.searchsorted": lambda: numbers[
            np.minimum(np.searchsorted(known, grams), len(known) - 1)
        ],
    }
    record(benchmark, calls)


def test_three_gram_distances(benchmark, corpus):
    tokens, offsets = map(torch.from_numpy, corpus)
    p = ngram_counts(tokens, offsets, 3, VOCAB)
    q = ngram_counts(tokens.flip(0), offsets, 3, VOCAB)

    def dense():
        union, where = np.unique(np.concatenate([p[0].numpy(), q[0].numpy()]), return_inverse=True)
        f = np.zeros((2, len(union)))
        f[0, where[: len(p[0])]] = p[1].numpy()
        f[1, where[len(p[0]) :]] = q[1].numpy()
        f /= f.sum(1, keepdims=True)
        return np.linalg.norm(f[0] - f[1])

    record(
        benchmark,
        {
            "ngram_l2": lambda: ngram_l2(*p, *q),
            "ngram_jsd": lambda: ngram_jsd(*p, *q),
            "numpy": dense,
        },
    )
