"""A phase by natural gradient: its parts by hand, and whole on a model of one block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dftfast.dft import natural
from dftfast.dft.context import Rollouts
from dftfast.dft.natural import effective_share, importance_weights, natural_phase, planned
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example
from dftfast.runtime.errors import Diverged


def test_weights_are_ratios_to_the_mean_of_the_prompt():
    prompt = np.array([0, 0, 1, 1])
    weights = importance_weights(np.log([1.0, 3.0, 0.5, 0.5]), prompt)
    np.testing.assert_allclose(weights, [0.5, 1.5, 1, 1])
    assert effective_share(weights) == pytest.approx(16 / (4 * 4.5))
    far = importance_weights(np.array([0.0] * 9 + [500.0]), np.zeros(10, dtype=int))
    assert far[-1] == natural.LARGEST_WEIGHT


@pytest.fixture
def small(context, monkeypatch):
    """Phases of few prompts, whose adapters are taken off again."""
    few = {"prompts": 60, "candidates": 4, "rank": 8}
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update=few))
    yield context
    context.policy.adapters.clear()
    context.policy.merge_weights()


def test_steps_on_paper_bring_the_weighted_candidates_nearer(small):
    steps = natural_phase(small, 1)["steps"]
    assert steps[0]["effective_share"] == 1 and steps[0]["nats"] == 0
    assert steps[1]["nats"] == pytest.approx(natural.STEP)
    shares = [step["effective_share"] for step in steps]
    assert len(steps) == 1 + natural.STEPS and shares == sorted(shares)[::-1]
    views = ("mmd", "lexical", "style", "ngram")
    assert sum(steps[-1][view] < steps[0][view] for view in views) > len(views) / 2


def test_a_phase_moves_its_texts_as_planned(small, monkeypatch):
    monkeypatch.setattr(natural, "STEP", 0.005)  # a small model is linear for a short way only
    made = []
    keep = lambda *given: made.append((planned(*given), given[1])) or made[0][0]
    monkeypatch.setattr(natural, "planned", keep)
    prompts = small.phase_prompts(1)
    rollouts = small.candidates(1, prompts)
    texts = [
        Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
        for i, p in enumerate(rollouts.prompt)
    ]
    before = token_logprobs(small.policy.decoder, texts)
    report = natural_phase(small, 1)
    after = token_logprobs(small.policy.decoder, texts)
    moved = np.array([sum(a) - sum(b) for a, b in zip(after, before)])
    plan, gradients = made[0]
    wanted = gradients.gram.numpy() @ plan.coefficients
    one = np.ones(len(moved))
    moved, wanted = (natural.centred(each, gradients.prompt, one) for each in (moved, wanted))
    assert np.corrcoef(moved, wanted)[0, 1] > 0.8
    assert 0 < report["held_by_rank"] <= 1 and report["candidates"] == len(texts)


def test_a_phase_is_the_same_when_it_is_run_again(small):
    natural_phase(small, 2)
    first = small.policy.adapters.pop()
    small.policy.merge_weights()
    natural_phase(small, 2)
    for name, tensor in small.policy.adapters[0].tensors.items():
        assert torch.equal(tensor, first.tensors[name])


def test_a_phase_is_refused_where_nothing_is_left_to_follow(context, monkeypatch):
    people = context.human
    # the candidates are human texts themselves: nothing tells them from the reference
    order = np.random.default_rng(0).permutation(len(people)) // 2 * 2
    drawn = people.select([int(i) for i in order])
    rollouts = Rollouts(drawn, [i // 2 for i in range(len(drawn))], [], 0.0, {})
    asked = [context.examples[i] for i in range(len(drawn) // 2 + 1)]
    found = natural.witnesses(context, asked, rollouts, 1)
    assert max(found.reliability.values()) < 0.6
    monkeypatch.setattr(natural, "LEAST_RELIABILITY", 0.6)
    with pytest.raises(Diverged, match="no witness is reliable"):
        natural.check_reliability(found.reliability)
    natural.check_reliability({"mmd": 0.1, "style": 0.7})
