"""Rollouts of a phase are sampled once, stored in parts, and survive damage and want of memory."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from dftfast.dft.stored_rollouts import generate
from dftfast.rollout import Request, RolloutEngine, Sampler


def requests(context, count):
    prompt = lambda i: context.validation[i % len(context.validation)].prompt
    return [Request(i, prompt(i), Sampler(max_tokens=12), seed=3) for i in range(count)]


def test_rollouts_are_sampled_once_and_in_parts(context, tmp_path, monkeypatch):
    context.engine.max_sequences, asked, original = 2, [], RolloutEngine.generate

    def counted(engine, part, progress):
        asked.append(len(part))
        return original(engine, part, progress)

    monkeypatch.setattr(RolloutEngine, "generate", counted)
    whole = generate(context.engine, requests(context, 40), tmp_path, "some")
    assert asked == [32, 8] and [len(batch) for batch in whole] == asked
    damaged = sorted(tmp_path.iterdir())[0] / "state.safetensors"
    os.truncate(damaged, damaged.stat().st_size - 1)
    again = generate(context.engine, requests(context, 40), tmp_path, "some")
    assert len(asked) == 3  # only the damaged part
    for a, b in zip(whole, again, strict=True):
        assert torch.equal(a.tokens, b.tokens) and torch.equal(a.logprobs, b.logprobs)
        assert a.finish_reason == b.finish_reason
    generate(context.engine, requests(context, 40), tmp_path, "other")
    assert len(asked) == 5


def test_tasks_share_samples_of_the_same_policy_alone(context, tmp_path, monkeypatch):
    asked, original = [], RolloutEngine.generate

    def counted(engine, part, progress):
        asked.append(len(part))
        return original(engine, part, progress)

    def again(context):
        """How often one rollout of the context has to be sampled."""
        before = len(asked)
        context.sample(context.validation[:1], 8, 3, "some")
        return len(asked) - before

    monkeypatch.setattr(RolloutEngine, "generate", counted)
    context = replace(context, rollouts=tmp_path)
    assert again(context) == 1 and again(replace(context, folder=tmp_path / "other")) == 0
    context.policy.begin_phase(4, 4, seed=0)
    adapter = context.policy.end_phase()
    assert again(context) == 1
    context.policy.adapters[-1] = replace(adapter, scale=adapter.scale / 2)
    assert again(context) == 1
    context.policy.adapters.pop()
    context.policy.temperature = 0.9
    assert again(context) == 1
    context.policy.temperature = 1.0
    assert again(context) == 0


def test_a_rollout_without_memory_goes_on_with_a_smaller_cache(
    context, tmp_path, monkeypatch, caplog
):
    expected = generate(context.engine, requests(context, 10), tmp_path / "a", "some")
    original, fails = type(context.engine.backend).allocate, iter([True])
    share = context.engine.memory_share

    def allocate(backend, blocks):
        if next(fails, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(backend, blocks)

    monkeypatch.setattr(type(context.engine.backend), "allocate", allocate)
    found = generate(context.engine, requests(context, 10), tmp_path / "b", "some")
    assert context.engine.memory_share == share / 2 and "out of memory" in caplog.text
    assert torch.equal(found[0].tokens, expected[0].tokens)
