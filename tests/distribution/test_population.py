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
from dftfast.distribution.classifier import DensityRatio
from dftfast.distribution.energy import (
    AskedLengthEnergy,
    CoverageEnergy,
    LengthEnergy,
    PhraseEnergy,
    RepetitionEnergy,
)
from dftfast.distribution.mmd import MMD, ConditionalMMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import make_terms, select_population

WEIGHTS = {
    "mmd": 1.0,
    "conditional_mmd": 0.5,
    "style": 0.5,
    "length": 0.5,
    "ngram": 1.0,
    "classifier": 1.0,
    "lexical": 1.0,
    "coverage": 0.5,
    "repetition": 0.5,
    "phrases": 0.5,
    "asked_length": 0.5,
}
NAMES = [
    "mmd",
    "conditional_mmd",
    "style",
    "length",
    "ngram1",
    "ngram2",
    "ngram3",
    "coverage",
    "repetition",
    "phrases",
    "asked_length",
    "lexical",
    "classifier",
]


def terms_of(candidates, human):
    return make_terms(candidates, human, VOCAB, WEIGHTS)


def same_population(term, chosen, candidates, human, name):
    """The term's value from the discrepancy itself, on the chosen texts as a set of their own."""
    makers = {"mmd": MMD, "conditional_mmd": ConditionalMMD}
    makers |= {"lexical": LexicalMMD, "style": StyleMMD}
    energies = {
        "length": LengthEnergy,
        "coverage": CoverageEnergy,
        "repetition": RepetitionEnergy,
        "phrases": PhraseEnergy,
        "asked_length": AskedLengthEnergy,
    }
    if name in makers:
        discrepancy = makers[name](population.FACTORS)
    elif name in energies:
        discrepancy = energies[name]()
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


@pytest.mark.parametrize("name", NAMES[:-1])
def test_slope_is_the_derivative_of_the_value(name):
    """Many copies of every text, so that a text hardly meets itself.

    Two of each other text become text i, and back.
    """
    copies, candidates, human = (
        400,
        random_samples(8, 12, shift=0.3, vocab=4),
        random_samples(25, 13, vocab=4),
    )
    every = candidates.select([i for i in range(8) for _ in range(copies)])
    term = terms_of(every, human)[name][1]
    slope, start, derivative = term.slope()[::copies], np.arange(8 * copies), []

    def value_with(rows, instead) -> float:
        chosen = start.copy()
        chosen[rows] = instead
        term.start(chosen)
        return term.value(chosen)

    for i in range(8):
        others = [j * copies + k for j in range(8) if j != i for k in range(2)]
        own = i * copies + np.arange(len(others))
        derivative.append(
            (value_with(others, i * copies) - value_with(own, others))
            / 2
            * len(start)
            / len(others)
        )
    expected = slope - (slope.sum() - slope) / 7
    assert derivative == pytest.approx(expected, rel=0.02, abs=0.01 * np.abs(expected).max())


def test_overshoot_aims_beyond_the_human_texts():
    """Embeddings short of the human ones: the chosen come as far beyond, or behind, as asked."""
    candidates, human = random_samples(4000, 12), random_samples(1000, 13, shift=0.1)
    prompt = [i // 8 for i in range(4000)]
    shifts = []
    for overshoot in (0.0, 1.0, 2.0, -2.0, -3.0):
        terms = make_terms(candidates, human, VOCAB, {"mmd": 1.0})
        chosen, records = select_population(prompt, terms, 0, overshoot)
        shifts.append(
            float((candidates.embeddings[chosen].mean(0) - candidates.embeddings.mean(0)).mean())
        )
        assert records[-1]["J"] < records[0]["J"]
    aim = float((human.embeddings.mean(0) - candidates.embeddings.mean(0)).mean())
    assert np.array(shifts) == pytest.approx([aim, 2 * aim, 3 * aim, -aim, -2 * aim], rel=0.25)


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


def test_given_weights_are_those_of_the_objective():
    candidates, human = random_samples(90, 18), random_samples(50, 19, shift=0.3)
    prompt = [i // 3 for i in range(90)]
    _, first = select_population(prompt, terms_of(candidates, human), 0)
    weights = {
        name: 0.0 if name.startswith("ngram") else first[0][f"weight_{name}"] for name in NAMES
    }
    chosen, records = select_population(prompt, terms_of(candidates, human), 1, weights=weights)
    assert {name: records[-1][f"weight_{name}"] for name in NAMES} == weights
    alone = {name: term for name, term in terms_of(candidates, human).items() if weights[name]}
    assert select_population(prompt, alone, 1, weights=weights)[0] == chosen


def test_only_candidates_among_those_given_are_chosen_and_all_count_as_the_policys():
    candidates, human = random_samples(80, 20, shift=0.3), random_samples(50, 21)
    prompt, terms = [i // 4 for i in range(80)], terms_of(candidates, human)
    among = np.array([i for i in range(80) if i % 4 and prompt[i] != 7])
    chosen, records = select_population(prompt, terms, 0, overshoot=1.0, among=among)
    assert set(chosen) <= set(among.tolist())
    assert [prompt[i] for i in chosen] == [p for p in range(20) if p != 7]
    pull = sum(records[0][f"weight_{name}"] * term.slope() for name, (_, term) in terms.items())
    values = sum(records[-1][f"weight_{name}"] * records[-1][name] for name in terms)
    assert records[-1]["J"] == pytest.approx(values + pull[chosen].mean(), abs=1e-6)


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
