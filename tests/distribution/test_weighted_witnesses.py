from __future__ import annotations

import numpy as np
import pytest
import torch

from dftfast.distribution.counts import ngram_matrices
from dftfast.distribution.mmd import MMD
from dftfast.distribution.ngram_table import first_half
from dftfast.distribution.samples import Samples
from dftfast.distribution.weighted import KernelView, NGramView, Witnesses, centred

PROMPTS, EACH, HUMAN = 20, 4, 50


def texts(count: int, seed: int, shift: float) -> Samples:
    """Texts of few words, whose embedding and words move with `shift`."""
    rng = np.random.default_rng(seed)
    chances = np.array([0.2 + shift, 0.2 - shift, 0.2, 0.2, 0.2])
    tokens = [[*rng.choice(5, rng.integers(4, 12), p=chances).tolist(), 9] for _ in range(count)]
    embeddings = torch.from_numpy(rng.normal(size=(count, 6)) + shift).float()
    return Samples.of(embeddings, tokens, [" ".join(map(str, ids)) + "." for ids in tokens])


@pytest.fixture(scope="module")
def population():
    prompt = np.repeat(np.arange(PROMPTS), EACH)
    human, others = texts(HUMAN, 2, 0.0), texts(PROMPTS, 3, 0.0)
    own = human.own([human.tokens_of(i) if i < 12 else others.tokens_of(i) for i in range(PROMPTS)])
    assert own.row.tolist() == [*range(12), *[-1] * 8]
    return texts(PROMPTS * EACH, 1, 0.15), human, prompt, own


def brute_force(view: KernelView, weights: np.ndarray, human: np.ndarray) -> np.ndarray:
    x, y, h = view.x.double(), view.y.double(), float(view.bandwidths[0])
    kernel = lambda a, b: float(torch.exp(-(a - b).square().sum() / (2 * h * h)))
    found = []
    for i in range(len(x)):
        people = [j for j in np.flatnonzero(human) if j != view.own[i]]
        others = [j for j in range(len(x)) if view.prompt[j] != view.prompt[i]]
        towards = np.mean([kernel(x[i], y[j]) for j in people])
        among = sum(weights[j] * kernel(x[i], x[j]) for j in others) / weights[others].sum()
        found.append(2 * (towards - among))
    return np.array(found)


def test_kernel_witness_leaves_the_own_prompt_out(population):
    view = KernelView(MMD(), *population)
    rng = np.random.default_rng(0)
    weights, first = rng.uniform(0.2, 3, PROMPTS * EACH), first_half(HUMAN)
    for half, human in ((None, np.ones(HUMAN, dtype=bool)), (0, first), (1, ~first)):
        expected = brute_force(view, weights, human)
        np.testing.assert_allclose(view.witness(weights, half), expected, atol=1e-5)


def test_kernel_witness_is_minus_the_slope_of_the_distance(population):
    candidates, human, prompt, _ = population
    view = KernelView(MMD(), candidates, human, prompt, human.own([[]] * PROMPTS))
    rng = np.random.default_rng(3)
    weights = np.ones(PROMPTS * EACH)
    direction = centred(rng.normal(size=len(prompt)), prompt, weights)
    ahead, behind = (view.value(weights + sign * 1e-4 * direction) for sign in (1, -1))
    slope = -(view.witness(weights) @ direction) / len(prompt)
    assert (ahead - behind) / 2e-4 == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("half", [None, 0, 1])
def test_ngram_witness_by_counting(population, half):
    candidates, human, prompt, own = population
    view = NGramView(*population)
    weights = np.random.default_rng(4).uniform(0.2, 3, 80)
    count = lambda s, i: np.bincount(s.tokens_of(i), minlength=10).astype(float)
    c, people = (np.array([count(s, i) for i in range(len(s))]) for s in (candidates, human))
    if half is not None:
        people[first_half(HUMAN) != (half == 0)] = 0
    own = own.row[prompt]
    of_q, of_p = weights @ c, people.sum(0)
    f_q, expected = of_q / of_q.sum(), []
    product = (f_q - of_p / of_p.sum()) @ f_q
    for i in range(len(c)):
        same = prompt == prompt[i]
        rest_q = of_q - weights[same] @ c[same]
        rest_p = of_p - (people[own[i]] if own[i] >= 0 else 0)
        gap = rest_q / rest_q.sum() - rest_p / rest_p.sum()
        expected.append(-2 * (c[i] @ gap - c[i].sum() * product))
    expected = np.array(expected) / c.sum(1).mean()
    found = view.orders[0].witness(weights, half)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_ngram_distance_leaves_products_of_one_prompt_out(population):
    view = NGramView(*population)
    weights = np.random.default_rng(5).uniform(0.2, 3, PROMPTS * EACH)
    candidates, human, prompt, own = population
    x, y = (m.toarray() for m in ngram_matrices(1, [candidates, human]))
    n, m, own = len(x), len(y), own.row[prompt]
    mean = lambda pairs: (
        sum(a @ b * w for a, b, w in pairs) / sum(a.sum() * b.sum() * w for a, b, w in pairs)
    )
    within = mean(
        [
            (x[i], x[j], weights[i] * weights[j])
            for i in range(n)
            for j in range(n)
            if view.prompt[i] != view.prompt[j]
        ]
    )
    people = mean([(y[i], y[j], 1) for i in range(m) for j in range(m) if i != j])
    between = mean([(x[i], y[j], weights[i]) for i in range(n) for j in range(m) if own[i] != j])
    found = view.orders[0].distance(weights)
    assert found == pytest.approx(within + people - 2 * between, rel=1e-9)


def test_what_humans_write_more_of_is_rewarded(population):
    candidates, human, prompt, _ = population
    witnesses = Witnesses(candidates, human, prompt, [[]] * PROMPTS, 0)
    reward = witnesses.reward(np.ones(len(prompt)))
    overused = np.array([candidates.tokens_of(i).count(0) for i in range(len(prompt))])
    within = centred(overused.astype(float), prompt, np.ones(len(prompt)))
    assert np.corrcoef(within, reward)[0, 1] < -0.2
    np.testing.assert_allclose(np.bincount(prompt, reward), 0, atol=1e-9)


def test_reliability_is_high_for_a_gap_and_low_for_none():
    prompt = np.repeat(np.arange(60), EACH)
    human = texts(400, 5, 0.0)
    apart = Witnesses(texts(240, 6, 0.19), human, prompt, [[]] * 60, 0).reliability
    alike = Witnesses(texts(240, 7, 0.0), human, prompt, [[]] * 60, 0).reliability
    assert all(apart[view] > alike[view] + 0.2 for view in ("mmd", "ngram"))
    assert all(0 <= value <= 1 for value in [*apart.values(), *alike.values()])
