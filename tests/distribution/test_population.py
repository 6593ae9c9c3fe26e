"""Population selection against recomputation, brute force, and texts that it did not see."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from distribution.texts import VOCAB, Embedding, random_samples, standard_library_docstrings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dftfast.distribution import population
from dftfast.distribution.density_ratio import DensityRatio
from dftfast.distribution.energy import LengthEnergy
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import make_terms, select_population

NAMES = ["mmd", "lexical", "ngram1", "ngram2", "ngram3", "style", "length", "classifier"]


def terms_of(candidates, human):
    return make_terms(candidates, human, VOCAB)


def same_population(term, chosen, candidates, human, name):
    """The term's value from the discrepancy itself, on the chosen texts as a set of their own."""
    makers = {"mmd": MMD, "lexical": LexicalMMD, "style": StyleMMD}
    if name in makers:
        discrepancy = makers[name](population.FACTORS)
    elif name == "length":
        discrepancy = LengthEnergy()
    else:
        discrepancy = NGramL2(VOCAB, sizes=(int(name[-1]),))
    discrepancy.fit(human)
    return discrepancy.value(candidates.select(chosen))


@pytest.mark.parametrize("name", NAMES)
def test_cost_of_an_exchange_is_exact(name):
    candidates, human = random_samples(40, 12, shift=0.3, vocab=4), random_samples(25, 13, vocab=4)
    term, fresh = terms_of(candidates, human)[name][1], terms_of(candidates, human)[name][1]
    chosen = np.arange(0, 40, 4)
    term.start(chosen)
    # two rounds over two blocks: sums from scratch, by differences, and inside the block
    for step in range(20):
        number, position = step // 5 % 2, step % 10
        if step % 5 == 0:
            term.enter(number, np.arange(20 * number, 20 * number + 20))
        group, current = np.arange(4 * position, 4 * position + 4), chosen[position]
        costs, exact = term.costs(group, current), []
        for new in group:
            exchanged = chosen.copy()
            exchanged[position] = new
            exact.append(fresh.value(exchanged))
        assert np.allclose(costs - costs[0], np.array(exact) - exact[0], atol=2e-7)
        if step % 3:
            new = group[(step + 1) % 4]
            if new != current:
                term.exchange(current, new)
                chosen[position] = new


@pytest.mark.parametrize("name", NAMES[:-1])
def test_value_of_a_term_is_that_of_its_discrepancy(name):
    candidates, human = random_samples(40, 12, shift=0.3, vocab=4), random_samples(25, 13, vocab=4)
    term = terms_of(candidates, human)[name][1]
    chosen = np.arange(1, 40, 4)
    assert term.value(chosen) == pytest.approx(
        same_population(term, chosen, candidates, human, name), abs=1e-6
    )


def test_term_of_a_density_ratio_is_the_mean_of_its_witness():
    candidates, human, ratio = (
        random_samples(60, 12, shift=0.3),
        random_samples(50, 13),
        DensityRatio(),
    )
    ratio.fit(human)
    chosen = np.arange(0, 60, 3)
    expected = -float(ratio.witness(candidates)[chosen].mean())
    assert terms_of(candidates, human)["classifier"][1].value(chosen) == pytest.approx(expected)


def value_of(weighted, chosen):
    return sum(weight * term.value(np.array(chosen)) for weight, term in weighted)


def test_selection_finds_the_optimum_of_a_small_instance():
    candidates, human = random_samples(12, 14, shift=0.5), random_samples(30, 15)
    terms = terms_of(candidates, human)
    prompt = [i // 3 for i in range(12)]
    hits = 0
    for seed in range(5):
        chosen, records = select_population(prompt, terms, seed=seed)
        weighted = [(records[0][f"weight_{k}"], term) for k, (_, term) in terms.items()]
        objective = partial(value_of, weighted)
        values = [
            objective(c) for c in itertools.product(*(range(3 * p, 3 * p + 3) for p in range(4)))
        ]
        assert records[-1]["J"] == pytest.approx(objective(chosen), abs=1e-9)
        assert records[-1]["J"] <= np.quantile(values, 0.1)  # a local optimum is a good one
        hits += records[-1]["J"] <= min(values) + 1e-6
    assert hits >= 2


def test_every_sweep_lowers_the_objective_and_keeps_one_candidate_a_prompt(monkeypatch):
    monkeypatch.setattr(population, "BLOCK", 28)
    candidates, human = random_samples(200, 16, shift=0.5), random_samples(80, 17)
    prompt = [9 * (i // 4) for i in range(200)]
    chosen, records = select_population(prompt, terms_of(candidates, human), seed=1, sweeps=30)
    objective = [record["J"] for record in records]
    assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(objective))
    assert objective[-1] < objective[0] and records[-1]["exchanges"] == 0
    assert [prompt[i] for i in chosen] == sorted(set(prompt))


@given(st.lists(st.integers(0, 6), min_size=4, max_size=24), st.integers(0, 100))
@example([1, 0, 0, 0], 1)  # a population without a trigram
@settings(deadline=None, max_examples=15)
def test_any_numbering_and_order_of_prompts(prompt, seed):
    """Candidates of a prompt need not lie together, nor be equally many; the seed decides."""
    candidates, human = random_samples(len(prompt), 23), random_samples(30, 24)
    if len(set(prompt)) < 2:
        return
    terms = make_terms(candidates, human, VOCAB, {"mmd": 1.0, "ngram": 1.0, "length": 1.0})
    chosen, records = select_population(prompt, terms, seed)
    assert [prompt[i] for i in chosen] == sorted(set(prompt))
    assert (chosen, records) == select_population(prompt, terms, seed)


def test_terms_start_with_an_equal_say():
    """The scale undoes the units of a discrepancy: a thousandfold one gives the same choice."""
    candidates, human = random_samples(120, 25, shift=0.4), random_samples(80, 26)
    prompt = [i // 4 for i in range(120)]
    terms = make_terms(candidates, human, VOCAB, {"mmd": 1.0, "ngram": 1.0})
    chosen, records = select_population(prompt, terms, 0)
    loud = {
        name: (weight, term)
        for name, (weight, term) in make_terms(
            candidates, human, VOCAB, {"mmd": 1.0, "ngram": 1.0}
        ).items()
    }
    original = loud["ngram1"][1].costs
    loud["ngram1"][1].costs = lambda group, current: 1000 * original(group, current)
    assert select_population(prompt, loud, 0)[0] == chosen
    assert all(records[0][f"weight_{name}"] > 0 for name in terms)


def test_a_name_that_is_no_discrepancy_is_refused():
    samples = random_samples(10, 27)
    with pytest.raises(ValueError, match="'elegance'"):
        make_terms(samples, samples, VOCAB, {"elegance": 1.0})


def test_selection_lowers_the_discrepancy_to_texts_it_did_not_see():
    """Half of the candidates are human docstrings, half corrupted; the choice transfers."""
    rng = np.random.default_rng(0)
    texts = standard_library_docstrings()
    rng.shuffle(texts)
    embedding = Embedding(texts)
    third = len(texts) // 3
    reference, unseen, rest = texts[:third], texts[third : 2 * third], texts[2 * third :]
    favourites = embedding.words[:: len(embedding.words) // 5]
    corrupted = [
        " ".join(w if rng.random() < 0.6 else rng.choice(favourites) for w in t.split())
        for t in rest
    ]
    candidates = embedding.samples([t for pair in zip(corrupted, rest) for t in pair])
    prompt = [i // 2 for i in range(len(candidates))]
    terms = make_terms(
        candidates, embedding.samples(reference), embedding.vocab, {"mmd": 1.0, "ngram": 1.0}
    )
    chosen, _ = select_population(prompt, terms, seed=0)
    at_random = [2 * p + int(rng.integers(2)) for p in range(len(rest))]
    for discrepancy in (MMD(), NGramL2(embedding.vocab, sizes=(1,)), StyleMMD()):
        discrepancy.fit(embedding.samples(unseen))
        assert discrepancy.value(candidates.select(chosen)) < discrepancy.value(
            candidates.select(at_random)
        )
    assert np.mean([i % 2 for i in chosen]) > 0.7
