from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.kernels import ngram_counts, ngram_jsd, ngram_l2, ngram_lookup

SEQUENCES = st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=8)


def ragged(sequences):
    tokens = torch.tensor([t for s in sequences for t in s], dtype=torch.int64)
    offsets = torch.tensor(np.cumsum([0] + [len(s) for s in sequences]), dtype=torch.int64)
    return tokens, offsets


def counter(sequences, n, exclude=()):
    grams = (tuple(s[i : i + n]) for s in sequences for i in range(len(s) - n + 1))
    return Counter(g for g in grams if not set(g) & set(exclude))


def decode(keys, n, vocab):
    """Keys back to tuples of tokens, so that a wrong key cannot hide behind a right count."""

    def digits(key, count):
        return tuple(key // vocab ** (count - 1 - i) % vocab for i in range(count))

    if keys.dim() == 1:
        return [digits(key, n) for key in keys.tolist()]
    return [digits(high, n // 2) + digits(low, n - n // 2) for high, low in keys.tolist()]


@settings(max_examples=150, deadline=None)
@given(
    SEQUENCES,
    st.integers(1, 4),
    st.sampled_from([7, 49152, 55108, 55109, 151936]),
    st.lists(st.integers(0, 7), max_size=2),
)
def test_counts_are_those_of_a_counter(sequences, n, vocab, exclude):
    sequences = [[vocab - 1 if t == 6 else t for t in s] for s in sequences]
    keys, counts = ngram_counts(
        *ragged(sequences), n, vocab, torch.tensor(exclude, dtype=torch.int64)
    )
    expected = counter(sequences, n, exclude)
    assert dict(zip(decode(keys, n, vocab), counts.tolist())) == expected
    assert decode(keys, n, vocab) == sorted(expected)
    assert (keys.dim() == 2) == (vocab**n >= 2**63)


@settings(max_examples=100, deadline=None)
@given(SEQUENCES, SEQUENCES, st.integers(1, 4), st.sampled_from([7, 151936]))
def test_distances_are_those_of_the_dense_histograms(first, second, n, vocab):
    p, q = counter(first, n), counter(second, n)
    histograms = (*ngram_counts(*ragged(first), n, vocab), *ngram_counts(*ragged(second), n, vocab))
    if not p or not q:
        with pytest.raises(ValueError, match="empty"):
            ngram_l2(*histograms)
        return
    grams = sorted(p | q)
    f = np.array([[p[g] / p.total(), q[g] / q.total()] for g in grams])
    entropy = -(f * np.log2(f, where=f > 0, out=np.zeros_like(f))).sum(0)
    mean = f.mean(1)
    assert ngram_l2(*histograms) == pytest.approx(np.linalg.norm(f[:, 0] - f[:, 1]), abs=1e-12)
    assert ngram_jsd(*histograms) == pytest.approx(
        -(mean * np.log2(mean)).sum() - entropy.mean(), abs=1e-12
    )


@settings(max_examples=100, deadline=None)
@given(SEQUENCES, SEQUENCES, st.integers(1, 4), st.sampled_from([7, 151936]))
def test_lookup_gives_each_token_the_value_of_its_ngram(known, sequences, n, vocab):
    keys, counts = ngram_counts(*ragged(known), n, vocab)
    expected = counter(known, n)
    values_at = ngram_lookup(*ragged(sequences), n, vocab, keys, counts.float(), default=-1.0)
    ends = [(s, i + 1) for s in sequences for i in range(len(s))]
    wanted = [expected.get(tuple(s[end - n : end]), -1.0) if end >= n else -1.0 for s, end in ends]
    assert values_at.tolist() == wanted


def test_a_large_corpus_matches_numpy():
    generator = np.random.default_rng(0)
    tokens = generator.zipf(1.2, 60_000) % 49152
    lengths = generator.integers(0, 300, 400)
    offsets = np.minimum(np.cumsum(np.concatenate([[0], lengths])), len(tokens))
    offsets[-1] = len(tokens)
    pieces = [tokens[a:b] for a, b in itertools.pairwise(offsets)]
    grams = np.concatenate(
        [(p[:-2] * 49152 + p[1:-1]) * 49152 + p[2:] for p in pieces if len(p) > 2]
    )
    expected_keys, expected_counts = np.unique(grams, return_counts=True)
    keys, counts = ngram_counts(torch.from_numpy(tokens), torch.from_numpy(offsets), 3, 49152)
    assert np.array_equal(keys.numpy(), expected_keys)
    assert np.array_equal(counts.numpy(), expected_counts)
    values = torch.from_numpy(generator.standard_normal(len(keys))).float()
    looked_up = ngram_lookup(
        torch.from_numpy(tokens), torch.from_numpy(offsets), 3, 49152, keys, values
    )
    ends = np.concatenate(
        [np.arange(a + 2, b) for a, b in itertools.pairwise(offsets) if b - a > 2]
    )
    assert np.array_equal(
        looked_up.numpy()[ends], values.numpy()[np.searchsorted(expected_keys, grams)]
    )


def test_identical_and_disjoint_histograms():
    keys, counts = torch.tensor([1, 5]), torch.tensor([3, 1])
    assert ngram_l2(keys, counts, keys, 2 * counts) == 0.0
    assert ngram_jsd(keys, counts, keys, 2 * counts) == 0.0
    assert ngram_jsd(keys, counts, keys + 1, counts) == pytest.approx(1.0)


def test_bad_input_is_refused_with_its_place():
    offsets = torch.tensor([0, 3])
    with pytest.raises(ValueError, match=r"token 9 at position 2.*vocabulary of 9"):
        ngram_counts(torch.tensor([1, 2, 9]), offsets, 2, 9)
    with pytest.raises(ValueError, match=r"token -1 at position 0"):
        ngram_lookup(
            torch.tensor([-1, 2, 3]), offsets, 2, 9, torch.tensor([1]), torch.tensor([1.0])
        )
    with pytest.raises(ValueError, match=r"offsets"):
        ngram_counts(torch.tensor([1, 2, 3]), torch.tensor([0, 2]), 2, 9)
    with pytest.raises(ValueError, match=r"offsets"):
        ngram_counts(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 1, 3]), 2, 9)
    with pytest.raises(ValueError, match="n = 1 to 4"):
        ngram_counts(torch.tensor([1, 2, 3]), offsets, 5, 9)
    with pytest.raises(ValueError, match=r"\[u, 2\]"):
        ngram_lookup(
            torch.tensor([1, 2, 3]), offsets, 4, 151936, torch.tensor([1]), torch.tensor([1.0])
        )


def test_non_contiguous_input():
    tokens, offsets = torch.tensor([[1, 0], [2, 0], [1, 0], [2, 0]]), torch.tensor([0, 4])
    keys, counts = ngram_counts(tokens[:, 0], offsets, 2, 5)
    assert keys.tolist() == [7, 11] and counts.tolist() == [2, 1]


def test_compiles_without_graph_breaks():
    tokens, offsets = ragged([[1, 2, 3, 1, 2], [3]])
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        counted = torch.compile(
            lambda t, o: ngram_counts(t, o, 2, 9)[1] * 2, fullgraph=True, backend="aot_eager"
        )
        assert counted(tokens, offsets).tolist() == [4, 2, 2]
