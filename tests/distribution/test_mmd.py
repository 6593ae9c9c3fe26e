"""MMD against sums written out as loops, and what each kind of it sees."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from distribution.texts import fitted, random_samples

from dftfast.distribution.mmd import (
    MMD,
    LexicalMMD,
    median_bandwidth,
    mmd2_unbiased,
    signed_root,
)
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.samples import Samples


def kernel(x, y, h):
    return math.exp(-float(((x - y) ** 2).sum()) / (2 * h * h))


def mmd2_by_loops(x, y, k):
    n, m = len(x), len(y)
    within = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    human = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + human - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("factors", [(1.0,), (0.5, 1.0, 2.0)])
def test_mmd_equals_the_sums_of_its_definition(factors):
    x, y = random_samples(9, 1, shift=0.5), random_samples(12, 2)
    median = median_bandwidth(y.embeddings)
    points = x.embeddings.double(), y.embeddings.double()
    kernels = [partial(kernel, h=factor * median) for factor in factors]
    expected = np.mean([mmd2_by_loops(*points, k) for k in kernels])
    mmd = fitted(MMD(factors), y)
    assert mmd.value(x) == pytest.approx(expected, rel=1e-4)
    assert mmd2_unbiased(x.embeddings, y.embeddings, mmd.bandwidths) == pytest.approx(
        expected, rel=1e-4
    )


def of_tokens(tokens):
    """Texts alike to everything but their tokens."""
    return Samples.of(torch.zeros(len(tokens), 1), tokens, ["text"] * len(tokens))


def test_lexical_mmd_is_that_of_scaled_log_counts():
    """Up to the projection, which keeps distances to about 1/sqrt(512)."""
    rng = np.random.default_rng(5)
    draw = lambda count, top: [
        rng.integers(0, top, rng.integers(20, 40)).tolist() for _ in range(count)
    ]
    x, y = of_tokens(draw(40, 200)), of_tokens(draw(50, 300))

    def points(samples):
        counts = torch.stack(
            [
                torch.bincount(torch.tensor(samples.tokens_of(i)), minlength=300)
                for i in range(len(samples))
            ]
        )
        return torch.nn.functional.normalize(counts.double().log1p(), dim=1)

    h = median_bandwidth(points(y))
    expected = mmd2_by_loops(points(x), points(y), lambda a, b: kernel(a, b, h))
    lexical = fitted(LexicalMMD(), y)
    assert lexical.value(x) == pytest.approx(expected, rel=0.1)
    assert torch.equal(lexical.features(x.select([3, 3, 7])), lexical.features(x)[[3, 3, 7]])


def test_lexical_mmd_sees_what_repeats_within_a_text():
    """The same tokens as often in all, but half as many different ones in a text.

    N-gram L2 of single tokens sees none of it.
    """
    rng = np.random.default_rng(6)
    once = lambda: of_tokens([rng.integers(0, 60, 30).tolist() for _ in range(600)])
    twice = of_tokens([rng.integers(0, 60, 15).repeat(2).tolist() for _ in range(600)])
    human, plain = once(), once()
    assert fitted(NGramL2(60, sizes=(1,)), human).value(twice) < 2 * fitted(
        NGramL2(60, sizes=(1,)), human
    ).value(plain)
    lexical = fitted(LexicalMMD(), human)
    assert lexical.value(twice) > 0.005 > 0.0008 > abs(lexical.value(plain))


def test_mmd_is_unbiased_between_halves_of_one_distribution():
    values = []
    for seed in range(60):
        both = random_samples(80, seed).embeddings
        values.append(mmd2_unbiased(both[:40], both[40:], torch.tensor([2.0])))
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_signed_root_keeps_the_sign():
    assert (
        signed_root(0.04) == pytest.approx(0.2)
        and signed_root(-0.04) == pytest.approx(-0.2)
        and signed_root(0.0) == 0
    )
