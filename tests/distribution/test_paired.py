"""Paired distances against sums over pairs, and their deviation against labels that are swapped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distribution.texts import VOCAB, random_samples

from dftfast.distribution.mmd import MMD
from dftfast.distribution.paired import paired_mmd2, paired_ngram_l2
from dftfast.distribution.samples import Samples

N = 30


@pytest.fixture(scope="module")
def texts() -> tuple[Samples, Samples]:
    return random_samples(N, seed=1), random_samples(N, seed=2)


def test_mmd_is_a_mean_over_pairs_of_prompts(texts):
    answers, human = texts
    mmd = MMD()
    mmd.fit(human)
    x, y, h = answers.embeddings.double(), human.embeddings.double(), float(mmd.bandwidths[0])
    kernel = lambda a, b: float(torch.exp(-(a - b).square().sum() / (2 * h * h)))
    total = sum(
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(y[i], x[j])
        for i in range(N)
        for j in range(N)
        if i != j
    )
    found = paired_mmd2(mmd, answers, human)
    assert found.value == pytest.approx(total / (N * (N - 1)), abs=1e-6)
    assert found.z == found.value / found.deviation


def test_the_deviation_is_that_of_swapped_labels(texts):
    both, rng, mmd = Samples.concat(list(texts)), np.random.default_rng(0), MMD()
    mmd.fit(texts[1])
    found = paired_mmd2(mmd, *texts).deviation
    swapped = []
    for _ in range(400):
        flip = rng.integers(2, size=N) * N
        first, second = np.arange(N) + flip, np.arange(N) + N - flip
        swapped.append(paired_mmd2(mmd, both.select(first), both.select(second)).value)
    assert np.std(swapped) == pytest.approx(found, rel=0.15)
    assert abs(np.mean(swapped)) < found / 5


def test_ngram_distance_of_the_same_texts_is_zero_and_of_others_is_not(texts):
    answers, human = texts
    assert paired_ngram_l2(2, human, human).value == pytest.approx(0, abs=1e-12)
    count = lambda s, i: np.bincount(s.tokens_of(i), minlength=VOCAB)
    x, y = (np.array([count(s, i) for i in range(N)]) for s in texts)
    d = x / x.sum() - y / y.sum()
    total = np.square(d.sum(0)).sum() - np.square(d).sum()
    found = paired_ngram_l2(1, answers, human)
    assert found.value == pytest.approx(total * N / (N - 1), rel=1e-9)
