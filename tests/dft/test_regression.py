"""The regression of log-ratios on witnesses: its parts by hand, a phase on a model of one block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dftfast.dft import regression
from dftfast.dft.context import Rollouts
from dftfast.dft.regression import (
    effective_share,
    importance_weights,
    planned,
    prompts_together,
    regression_phase,
    squared_residual,
)
from dftfast.model.lora import remove_adapter
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example, pack
from dftfast.runtime.errors import Diverged, Interrupted


def test_weights_are_ratios_to_the_mean_of_the_prompt():
    prompt = np.array([0, 0, 1, 1])
    weights = importance_weights(np.log([1.0, 3.0, 0.5, 0.5]), prompt)
    np.testing.assert_allclose(weights, [0.5, 1.5, 1, 1])
    assert effective_share(weights) == pytest.approx(16 / (4 * 4.5))
    far = importance_weights(np.array([0.0] * 9 + [500.0]), np.zeros(10, dtype=int))
    assert far[-1] == regression.LARGEST_WEIGHT


def test_steps_hold_whole_prompts_and_all_candidates_once():
    texts = [Example([1] * 10, [2] * (5 + i % 3)) for i in range(24)]
    prompt = np.repeat(np.arange(8), 3)
    steps = prompts_together(texts, prompt, 60, seed=3)
    assert sorted(i for step in steps for i in step) == list(range(24)) and len(steps) == 4
    assert all(
        sum(prompt[i] == p for i in step) == 3 for step in steps for p in set(prompt[step].tolist())
    )
    assert steps != prompts_together(texts, prompt, 60, seed=4)


def test_the_residual_is_that_of_each_token(context):
    decoder = context.policy.decoder
    texts = [
        Example(e.prompt, e.completion, np.linspace(-3, 1, len(e.completion)).tolist())
        for e in context.examples[:5]
    ]
    logprobs = token_logprobs(decoder, texts)
    wanted = sum(
        (was - shall) ** 2
        for found, e in zip(logprobs, texts)
        for was, shall in zip(found, e.weights)
    )
    found = float(squared_residual(decoder, pack(texts), 0.25))
    assert found == pytest.approx(0.25 * wanted, rel=1e-4)


def settings_of(context, monkeypatch):
    small = {"prompts": 60, "candidates": 4, "batch_tokens": 400, "learning_rate": 0.01}
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update=small))


def adapter_of(context) -> list[torch.Tensor]:
    found = [p.detach().clone() for p in context.policy.decoder.parameters() if p.requires_grad]
    remove_adapter(context.policy.decoder)
    context.policy.merge_weights()
    return found


def test_steps_on_paper_bring_the_weighted_candidates_nearer(context, monkeypatch):
    settings_of(context, monkeypatch)
    steps = regression_phase(context, 1)["steps"]
    adapter_of(context)
    assert steps[0]["effective_share"] == 1 and steps[0]["nats"] == 0
    assert steps[1]["nats"] == pytest.approx(regression.STEP)
    shares = [step["effective_share"] for step in steps]
    assert len(steps) == 1 + regression.STEPS and shares == sorted(shares)[::-1]
    views = ("mmd", "lexical", "style", "ngram")
    assert sum(steps[-1][view] < steps[0][view] for view in views) > len(views) / 2


def test_a_phase_moves_its_tokens_as_planned(context, monkeypatch):
    settings_of(context, monkeypatch)
    made = []
    monkeypatch.setattr(
        regression, "planned", lambda *given: made.append(planned(*given)) or made[0]
    )
    prompts = context.phase_prompts(1)
    rollouts = context.candidates(1, prompts)
    texts = [
        Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
        for i, p in enumerate(rollouts.prompt)
    ]
    before = token_logprobs(context.policy.decoder, texts)
    regression_phase(context, 1)
    after = token_logprobs(context.policy.decoder, texts)
    adapter_of(context)
    moved = np.concatenate([np.subtract(a, b) for a, b in zip(after, before)])
    assert np.corrcoef(moved, made[0].log_ratios)[0, 1] > 0.2


def test_a_phase_that_was_stopped_goes_on_to_the_same_adapter(context, tmp_path, monkeypatch):
    settings_of(context, monkeypatch)
    keep = lambda folder: lambda loop: Checkpoints(tmp_path / folder / loop, steps=1)
    monkeypatch.setattr(context, "checkpoints", keep("whole"))
    regression_phase(context, 2)
    whole = adapter_of(context)
    monkeypatch.setattr(context, "checkpoints", keep("stopped"))
    taken, loss = [], squared_residual

    def stopping(*arguments):
        taken.append(1)
        if len(taken) > 17:  # of 24 steps
            raise Interrupted("stopped")
        return loss(*arguments)

    monkeypatch.setattr(regression, "squared_residual", stopping)
    with pytest.raises(Interrupted):
        regression_phase(context, 2)
    adapter_of(context)
    monkeypatch.setattr(regression, "squared_residual", loss)
    regression_phase(context, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole, adapter_of(context), strict=True))


def test_a_phase_is_refused_where_nothing_is_left_to_follow(context, monkeypatch):
    settings_of(context, monkeypatch)
    people = context.human
    # the candidates are human texts themselves: nothing tells them from the reference
    order = np.random.default_rng(0).permutation(len(people)) // 2 * 2
    drawn = people.select([int(i) for i in order])
    rollouts = Rollouts(drawn, [i // 2 for i in range(len(drawn))], [], 0.0, {})
    asked = [context.examples[i] for i in range(len(drawn) // 2 + 1)]
    found = regression.witnesses(context, asked, rollouts, 1)
    assert max(found.reliability.values()) < 0.6
    monkeypatch.setattr(regression, "LEAST_RELIABILITY", 0.6)
    with pytest.raises(Diverged, match="no witness is reliable"):
        regression.check_reliability(found.reliability)
    regression.check_reliability({"mmd": 0.1, "style": 0.7})
