"""Witnesses within groups against witnesses that are fitted by hand on each group."""

from __future__ import annotations

import numpy as np
import pytest
from distribution.texts import random_samples

from dftfast.distribution.grouped import LEAST_PROMPTS, LEAST_TEXTS, GroupedWitnesses, Groups
from dftfast.distribution.samples import Samples
from dftfast.distribution.weighted import Witnesses

EACH, SEED = 3, 7
SIZES = {"mail": (46, 120), "blog": (41, 104)}  # prompts and human texts


def interleaved(counts: dict[str, int]) -> list[str]:
    """Each name so many times, in an order by chance."""
    names = [name for name, count in counts.items() for _ in range(count)]
    return [names[i] for i in np.random.default_rng(1).permutation(len(names))]


class Corpus:
    """Candidates and a reference, in groups of these sizes."""

    def __init__(self, sizes: dict[str, tuple[int, int]]):
        self.of_prompt = interleaved({name: prompts for name, (prompts, _) in sizes.items()})
        self.of_human = interleaved({name: texts for name, (_, texts) in sizes.items()})
        self.human = random_samples(len(self.of_human), 2)
        own = [self.human.tokens_of(self.of_human.index(name)) for name in self.of_prompt]
        prompts = len(self.of_prompt)
        self.completions = own[: prompts // 2] + [[1, 2]] * (prompts - prompts // 2)
        # two answers to the first prompt are missing, and all to the last
        self.prompt = np.repeat(np.arange(prompts), EACH)[2:-EACH].tolist()
        # half of the answers have few words, which every view sees
        few = random_samples(len(self.prompt), 3, shift=0.3, vocab=12)
        both = Samples.concat([few, random_samples(len(self.prompt), 4)])
        order = np.random.default_rng(5).permutation(len(both))[: len(self.prompt)]
        self.candidates = both.select(order.tolist())
        self.weights = np.random.default_rng(4).uniform(0.2, 3, len(self.prompt))

    def grouped(self) -> GroupedWitnesses:
        groups = Groups.of(self.human, self.of_human, self.of_prompt, [])
        given = (self.candidates, self.human, self.prompt, self.completions, SEED)
        return GroupedWitnesses(*given, groups.texts, self.of_prompt)

    def whole(self) -> Witnesses:
        return Witnesses(self.candidates, self.human, self.prompt, self.completions, SEED)

    def rows(self, name: str) -> list[int]:
        return [i for i, p in enumerate(self.prompt) if self.of_prompt[p] == name]

    def alone(self, name: str) -> Witnesses:
        """A critic of one group, whose prompts are numbered anew."""
        prompts = [p for p, other in enumerate(self.of_prompt) if other == name]
        human = self.human.select([i for i, other in enumerate(self.of_human) if other == name])
        return Witnesses(
            self.candidates.select(self.rows(name)),
            human,
            [prompts.index(self.prompt[i]) for i in self.rows(name)],
            [self.completions[p] for p in prompts],
            SEED,
        )


@pytest.fixture(scope="module")
def two() -> Corpus:
    return Corpus(SIZES)


def test_credits_are_those_of_critics_fitted_on_each_group(two):
    found = two.grouped().credits(two.weights)
    for name in SIZES:
        rows = two.rows(name)
        wanted = two.alone(name).credits(two.weights[rows])
        assert found.keys() == wanted.keys()
        for view in wanted:
            np.testing.assert_array_equal(found[view][rows], wanted[view])
    whole = two.whole().credits(two.weights)
    assert all(np.abs(found[view] - whole[view]).max() > 0.1 for view in whole)


def test_figures_are_means_over_prompts(two):
    critic, parts = two.grouped(), [two.alone(name) for name in SIZES]
    prompts = [len({two.prompt[i] for i in two.rows(name)}) for name in SIZES]
    assert sum(prompts) == sum(count for count, _ in SIZES.values()) - 1
    assert sorted((m["group"], m["prompts"]) for m in critic.matched) == sorted(zip(SIZES, prompts))
    values = [part.values(two.weights[two.rows(name)]) for part, name in zip(parts, SIZES)]
    for view, value in critic.values(two.weights).items():
        assert value == pytest.approx(np.average([v[view] for v in values], weights=prompts))
        shares = [part.reliability[view] for part in parts]
        assert critic.reliability[view] == pytest.approx(np.average(shares, weights=prompts))


def test_weights_of_one_group_are_nothing_to_another(two):
    critic, rows = two.grouped(), two.rows("mail")
    others = two.weights.copy()
    others[two.rows("blog")] = 1.0
    before, after = critic.credits(two.weights), critic.credits(others)
    for view in before:
        np.testing.assert_array_equal(before[view][rows], after[view][rows])
    assert (before["mmd"] != after["mmd"]).any()


@pytest.mark.parametrize(
    "sizes",
    [
        {"mail": (60, 130)},
        {"mail": (LEAST_PROMPTS - 1, 130), "blog": (45, LEAST_TEXTS - 1)},  # neither is enough
    ],
)
def test_one_group_and_small_groups_are_no_groups(sizes):
    corpus = Corpus(sizes)
    critic, whole = corpus.grouped(), corpus.whole()
    found, wanted = critic.credits(corpus.weights), whole.credits(corpus.weights)
    assert all((found[view] == wanted[view]).all() for view in wanted)
    assert critic.values(corpus.weights) == whole.values(corpus.weights)
    assert critic.reliability == whole.reliability and len(critic.matched) == 1


def test_a_small_group_is_held_against_the_whole():
    corpus = Corpus(SIZES | {"news": (12, 150), "memo": (50, 20)})
    critic, whole = corpus.grouped(), corpus.whole()
    found, of_whole = critic.credits(corpus.weights), whole.credits(corpus.weights)
    small = corpus.rows("news") + corpus.rows("memo")
    alone = {name: corpus.alone(name).credits(corpus.weights[corpus.rows(name)]) for name in SIZES}
    for view in found:
        np.testing.assert_array_equal(found[view][small], of_whole[view][small])
        for name in SIZES:
            np.testing.assert_array_equal(found[view][corpus.rows(name)], alone[name][view])
    assert {part["group"] for part in critic.matched} == {None, *SIZES}
    rest = next(part for part in critic.matched if part["group"] is None)
    assert rest["prompts"] == len({corpus.prompt[i] for i in small})


def test_a_prompt_of_no_group_is_held_against_the_whole(two):
    labels: list[str | None] = [*two.of_prompt]
    labels[5] = None
    texts = Groups.of(two.human, two.of_human, labels, []).texts
    given = (two.candidates, two.human, two.prompt, two.completions, SEED)
    found = GroupedWitnesses(*given, texts, labels).credits(two.weights)
    whole = two.whole().credits(two.weights)
    rows = [i for i, p in enumerate(two.prompt) if p == 5]
    for view, credit in whole.items():
        np.testing.assert_array_equal(found[view][rows], credit[rows])


def test_what_a_group_lacks_and_another_has_too_much_of_is_seen():
    """Half of the texts are as they should be, in the wrong half of the prompts."""
    prompts, texts = 60, 150
    low, high = (lambda n, seed, at=at: random_samples(n, seed, shift=at) for at in (-1.0, 1.0))
    human = Samples.concat([low(texts, 1), high(texts, 2)])
    candidates = Samples.concat([high(prompts * EACH, 3), low(prompts * EACH, 4)])
    prompt = np.repeat(np.arange(2 * prompts), EACH).tolist()
    labels = ["low"] * prompts + ["high"] * prompts
    groups = Groups.of(human, ["low"] * texts + ["high"] * texts, labels, [])
    given = (candidates, human, prompt, [[]] * (2 * prompts), SEED)
    alike = np.ones(len(prompt))
    within = GroupedWitnesses(*given, groups.texts, labels).values(alike)["mmd"]
    assert within > 20 * abs(Witnesses(*given).values(alike)["mmd"])
