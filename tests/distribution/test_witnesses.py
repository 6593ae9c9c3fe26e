"""Witnesses against finite differences of their discrepancy; n-gram L2 against counting."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from distribution.texts import VOCAB, fitted, random_samples

from dftfast.distribution.energy import Energy, LengthEnergy
from dftfast.distribution.mmd import MMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2


@pytest.mark.parametrize(
    "make",
    [
        MMD,
        lambda: MMD((0.5, 2.0)),
        StyleMMD,
        LengthEnergy,
    ],
)
def test_kernel_witness_is_minus_the_first_variation(make):
    """With weights q, moving ε of the mass to sample i changes the metric by −ε (r_i − ⟨q, r⟩).

    The witness leaves out the sample's own kernel, so it is compared with that variation without
    the diagonal.
    """
    x, y = random_samples(9, 5, shift=0.4, vocab=4), random_samples(20, 6, vocab=4)
    discrepancy = fitted(make(), y)

    def gram(a, b):
        if isinstance(discrepancy, Energy):
            return -torch.cdist(discrepancy.feature(a)[:, None], discrepancy.feature(b)[:, None])
        squared = torch.cdist(
            discrepancy.features(a).double(), discrepancy.features(b).double()
        ).square()
        return sum(
            torch.exp(-squared / (2 * h * h)) for h in discrepancy.bandwidths.double()
        ) / len(discrepancy.bandwidths)

    kxx, kxy, n = gram(x, x), gram(x, y).mean(1), len(x)
    kxx = kxx - kxx.diag().diag()
    q, eps = torch.full((n,), 1 / n, dtype=torch.float64), 1e-6
    metric = lambda q: q @ kxx @ q * n / (n - 1) - 2 * q @ kxy
    r = discrepancy.witness(x).double()
    for i in range(n):
        moved = (1 - eps) * q
        moved[i] += eps
        assert (metric(moved) - metric(q)) / eps == pytest.approx(
            -float(r[i] - q @ r), rel=1e-3, abs=1e-5
        )


def l2_squared_by_counting(samples, human, n):
    def frequencies(s):
        counts = Counter()
        for i in range(len(s)):
            tokens = s.tokens_of(i)
            counts.update(zip(*(tokens[k:] for k in range(n))))
        return {g: c / sum(counts.values()) for g, c in counts.items()}

    q, p = frequencies(samples), frequencies(human)
    return sum((q.get(g, 0) - p.get(g, 0)) ** 2 for g in q.keys() | p.keys())


def test_ngram_value_equals_counting():
    x, y = random_samples(20, 3), random_samples(30, 4)
    expected = sum(l2_squared_by_counting(x, y, n) for n in (1, 2, 3))
    assert fitted(NGramL2(VOCAB), y).value(x) == pytest.approx(expected, rel=1e-6)


def test_ngram_witness_is_minus_the_first_variation():
    """Adding ε more of an n-gram changes ‖f_q − f_p‖² by −ε · witness, to first order."""
    x, y = random_samples(10, 7, vocab=8), random_samples(10, 8, vocab=8)
    f_q, f_p = (torch.bincount(s.tokens, minlength=8).double() / len(s.tokens) for s in (x, y))
    rewards = fitted(NGramL2(VOCAB, sizes=(1,)), y).witness(x)
    eps = 1e-6
    for place, token in enumerate(x.tokens.tolist()):
        moved = f_q.clone()
        moved[token] += eps
        moved /= moved.sum()
        change = ((moved - f_p).square().sum() - (f_q - f_p).square().sum()) / eps
        assert float(change) == pytest.approx(-float(rewards[place]), rel=1e-3, abs=1e-6)
