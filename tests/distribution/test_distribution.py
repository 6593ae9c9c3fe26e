"""Discrepancies against hand-made oracles; selection against brute force and on texts that it did not see."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import textwrap
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dftfast.distribution.classifier import DensityRatio
from dftfast.distribution.mmd import MMD, median_bandwidth, mmd2_unbiased
from dftfast.distribution.ngram import NGramL2
from dftfast.distribution.samples import Samples
from dftfast.distribution.selection import LinearTerm, MMDTerm, NGramTerm, make_terms, select_population

VOCAB = 50


def random_samples(count, seed, shift=0.0, dimensions=6, vocab=VOCAB):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, vocab, size=rng.integers(1, 12)).tolist() for _ in range(count)]
    embeddings = torch.from_numpy(rng.normal(shift, 1, size=(count, dimensions))).float()
    return Samples.of(embeddings, tokens, [str(t) for t in tokens])


def kernel(x, y, h):
    return math.exp(-float(((x - y) ** 2).sum()) / (2 * h * h))


def mmd2_by_loops(x, y, h):
    n, m = len(x), len(y)
    within = sum(kernel(x[i], x[j], h) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    human = sum(kernel(y[i], y[j], h) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + human - 2 * sum(kernel(a, b, h) for a in x for b in y) / (n * m)


def l2_squared_by_counting(samples, human, n):
    def frequencies(s):
        counts = Counter()
        for i in range(len(s)):
            tokens = s.tokens_of(i)
            counts.update(zip(*(tokens[k:] for k in range(n))))
        return {g: c / sum(counts.values()) for g, c in counts.items()}

    q, p = frequencies(samples), frequencies(human)
    return sum((q.get(g, 0) - p.get(g, 0)) ** 2 for g in q.keys() | p.keys())


def test_mmd_equals_the_sums_of_its_definition():
    x, y = random_samples(9, 1, shift=0.5), random_samples(12, 2)
    mmd = MMD()
    mmd.fit(y)
    expected = mmd2_by_loops(x.embeddings.double(), y.embeddings.double(), median_bandwidth(y.embeddings))
    assert mmd.value(x) == pytest.approx(expected, rel=1e-4)


def test_mmd_is_unbiased_between_halves_of_one_distribution():
    values = []
    for seed in range(60):
        both = random_samples(80, seed).embeddings
        values.append(mmd2_unbiased(both[:40], both[40:], torch.tensor([2.0])))
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_ngram_value_equals_counting():
    x, y = random_samples(20, 3), random_samples(30, 4)
    ngram = NGramL2(VOCAB)
    ngram.fit(y)
    assert ngram.value(x) == pytest.approx(sum(l2_squared_by_counting(x, y, n) for n in (1, 2, 3)), rel=1e-6)


def test_mmd_witness_is_minus_the_first_variation():
    """Mixing ε of a point mass at x into the population changes MMD² by −ε (r(x) − mean r), to first order."""
    x, y = random_samples(7, 5, shift=0.4).embeddings.double(), random_samples(8, 6).embeddings.double()
    h, eps = 2.0, 1e-5
    gram = lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * h * h))
    kxx, kxy, kyy = gram(x, x), gram(x, y).mean(1), gram(y, y).mean()

    def mmd2(q):
        return q @ kxx @ q - 2 * q @ kxy + kyy

    q = torch.full((7,), 1 / 7, dtype=torch.float64)
    r = 2 * (kxy - kxx @ q)
    for i in range(7):
        moved = (1 - eps) * q
        moved[i] += eps
        assert (mmd2(moved) - mmd2(q)) / eps == pytest.approx(-float(r[i] - q @ r), rel=1e-3, abs=1e-6)
    mmd = MMD()
    mmd.human, mmd.bandwidths = y.float(), torch.tensor([h])
    off_diagonal = 2 * (kxy - (kxx.sum(1) - 1) / 6)
    samples = Samples.of(x.float(), [[0]] * 7, [""] * 7)
    assert torch.allclose(mmd.witness(samples).double(), off_diagonal, atol=1e-5)


def test_ngram_witness_is_minus_the_first_variation():
    """Adding ε more of an n-gram changes ‖f_q − f_p‖² by −ε · witness, to first order."""
    x, y = random_samples(10, 7, vocab=8), random_samples(10, 8, vocab=8)
    ngram = NGramL2(VOCAB, sizes=(1,))
    ngram.fit(y)
    f_q, f_p = (torch.bincount(s.tokens, minlength=8).double() / len(s.tokens) for s in (x, y))
    rewards = ngram.witness(x)
    eps = 1e-6
    for place, token in enumerate(x.tokens.tolist()):
        moved = f_q.clone()
        moved[token] += eps
        moved /= moved.sum()
        change = ((moved - f_p).square().sum() - (f_q - f_p).square().sum()) / eps
        assert float(change) == pytest.approx(-float(rewards[place]), rel=1e-3, abs=1e-6)


def test_density_ratio_ranks_human_like_samples_higher_and_is_blind_to_equal_sets():
    human, model = random_samples(300, 9), random_samples(300, 10, shift=0.6)
    ratio = DensityRatio()
    ratio.fit(human)
    assert ratio.value(model) > 0.3
    towards_human = model.embeddings.mean(1)
    witness = ratio.witness(model)
    assert np.corrcoef(witness.numpy(), towards_human.numpy())[0, 1] < -0.8
    assert abs(ratio.value(random_samples(300, 11))) < 0.15


def terms_of(candidates, human, weights=(1.0, 2.0, 3.0)):
    mmd, ngram = MMD(), NGramL2(VOCAB)
    mmd.fit(human)
    ngram.fit(human)
    score = torch.randn(len(candidates), generator=torch.Generator().manual_seed(0))
    return {
        "mmd": (weights[0], MMDTerm(mmd, candidates)),
        "ngram1": (weights[1], NGramTerm(ngram, 1, candidates)),
        "ngram3": (weights[1], NGramTerm(ngram, 3, candidates)),
        "linear": (weights[2], LinearTerm(score)),
    }


@pytest.mark.parametrize("name", ["mmd", "ngram1", "ngram3", "linear"])
def test_cost_of_an_exchange_is_exact(name):
    candidates, human = random_samples(40, 12, shift=0.3), random_samples(25, 13)
    _, term = terms_of(candidates, human)[name]
    chosen = np.arange(0, 40, 4)
    term.enter(np.arange(40), chosen)
    for step, current in enumerate(chosen.copy()):  # a chain of exchanges: nothing drifts
        group = np.arange(current, current + 4)
        costs = term.costs(group, current)
        exact = []
        for new in group:
            exchanged = chosen.copy()
            exchanged[step] = new
            exact.append(terms_of(candidates, human)[name][1].value(exchanged))
        differences, expected = costs - costs[0], np.array(exact) - exact[0]
        assert np.allclose(differences, expected, atol=1e-6)
        term.exchange(current, group[3])
        chosen[step] = group[3]


def test_selection_finds_the_optimum_of_a_small_instance():
    candidates, human = random_samples(12, 14, shift=0.5), random_samples(30, 15)
    prompt = [i // 3 for i in range(12)]
    terms = terms_of(candidates, human)
    value = lambda chosen: sum(weight * term.value(np.array(chosen)) for weight, term in terms.values())
    best = min(value(chosen) for chosen in itertools.product(*(range(3 * p, 3 * p + 3) for p in range(4))))
    found = min(value(select_population(prompt, terms, seed=seed)[0]) for seed in range(5))
    assert found == pytest.approx(best, abs=1e-7)


def test_every_sweep_lowers_the_objective_and_keeps_one_candidate_a_prompt(monkeypatch):
    monkeypatch.setattr("dftfast.distribution.selection.BLOCK", 7)
    candidates, human = random_samples(200, 16, shift=0.5), random_samples(80, 17)
    prompt = [9 * (i // 4) for i in range(200)]
    chosen, records = select_population(prompt, terms_of(candidates, human), seed=1)
    objective = [record["J"] for record in records]
    assert all(later <= earlier + 1e-9 for earlier, later in zip(objective, objective[1:]))
    assert objective[-1] < objective[0] and records[-1]["exchanges"] == 0
    assert [prompt[i] for i in chosen] == sorted(set(prompt))


def standard_library_texts():
    """Real prose: docstrings of standard library modules, split at random into human and 'model' texts."""
    import argparse, asyncio, datetime, decimal, email.message, http.client, logging, pathlib, subprocess, tarfile

    texts = []
    for module in (argparse, asyncio.events, datetime, decimal, email.message, http.client, logging, pathlib, subprocess, tarfile):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
                text = " ".join(textwrap.dedent(ast.get_docstring(node)).split())
                if len(text.split()) >= 6:
                    texts.append(text)
    return texts


def test_selection_lowers_the_discrepancy_to_texts_it_did_not_see():
    """Half of the candidates are human docstrings, half are corrupted ones; the choice transfers to held-out texts."""
    from sklearn.feature_extraction.text import HashingVectorizer

    rng = np.random.default_rng(0)
    texts = standard_library_texts()
    rng.shuffle(texts)
    words = sorted({w for t in texts for w in t.split()})
    ids = {w: i for i, w in enumerate(words)}
    vectorizer = HashingVectorizer(n_features=64, norm="l2")

    def samples(texts):
        embeddings = torch.from_numpy(vectorizer.transform(texts).toarray()).float()
        return Samples.of(embeddings, [[ids[w] for w in t.split()] for t in texts], texts)

    third = len(texts) // 3
    bank, unseen, rest = texts[:third], texts[third : 2 * third], texts[2 * third :]
    favourites = words[:: len(words) // 5]
    corrupted = [" ".join(w if rng.random() < 0.6 else rng.choice(favourites) for w in t.split()) for t in rest]
    candidates = samples([t for pair in zip(corrupted, rest) for t in pair])
    prompt = [i // 2 for i in range(len(candidates))]
    weights = SimpleNamespace(mmd=1.0, ngram=10.0, classifier=0.0)
    chosen, _ = select_population(prompt, make_terms(candidates, samples(bank), len(words), weights), seed=0)
    at_random = [2 * p + int(rng.integers(2)) for p in range(len(rest))]
    for discrepancy in (MMD(), NGramL2(len(words), sizes=(1,))):
        discrepancy.fit(samples(unseen))
        assert discrepancy.value(candidates.select(chosen)) < discrepancy.value(candidates.select(at_random))
    assert np.mean([i % 2 for i in chosen]) > 0.7
