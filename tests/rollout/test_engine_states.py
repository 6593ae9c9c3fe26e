"""What an engine holds and gives up: interruptions, cancellation, weight changes, refusals."""

from __future__ import annotations

import itertools

import pytest
import torch

from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError

from .models import outputs, tiny_decoder


def test_interruption_leaks_nothing_and_the_engine_goes_on():
    decoder = tiny_decoder("llama", torch.float32)
    engine = RolloutEngine(decoder, cache_tokens=512)
    requests = [Request(i, [i] * 20, Sampler(max_tokens=2 + i), n=3) for i in range(4)]
    expected = outputs(RolloutEngine(decoder, cache_tokens=512).generate(requests))

    def interrupt(finished, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(requests, progress=interrupt)
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.size
    stream = engine.stream(requests[0])
    next(stream)
    with pytest.raises(RuntimeError, match="middle of a rollout"):
        engine.generate(requests)
    stream.close()
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.size
    assert outputs(engine.generate(requests)) == expected


@pytest.mark.parametrize("failing_call", [0, 3])
def test_a_failing_forward_pass_leaks_nothing(failing_call, monkeypatch):
    decoder = tiny_decoder("llama", torch.float32)
    engine = RolloutEngine(decoder, cache_tokens=512)
    calls, real = itertools.count(), engine.backend.logits

    def failing(inputs):
        if next(calls) == failing_call:
            raise KeyboardInterrupt
        return real(inputs)

    monkeypatch.setattr(engine.backend, "logits", failing)
    requests = [Request(i, list(range(40)), Sampler(max_tokens=8)) for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        engine.generate(requests)
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.size
    fresh = RolloutEngine(decoder, cache_tokens=512)
    assert outputs(engine.generate(requests)) == outputs(
        fresh.generate(requests)
    )  # nothing half written is reused


def test_cancellation():
    decoder = tiny_decoder("llama", torch.float32)
    engine = RolloutEngine(decoder, cache_tokens=512)
    requests = [
        Request(0, [1], Sampler(max_tokens=2)),
        Request(1, [2], Sampler(max_tokens=30), n=2),
    ]
    batch = engine.generate(requests, progress=lambda finished, total: engine.cancel(1))
    assert batch.finish_reason == ["length", "cancelled", "cancelled"]
    assert batch.offsets.diff().tolist() == [2, 2, 2]
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.size


def test_progress_counts_every_sample_once():
    decoder = tiny_decoder("llama", torch.float32)
    seen = []
    requests = [Request(i, [i], Sampler(max_tokens=1 + i), n=2) for i in range(3)]
    RolloutEngine(decoder, cache_tokens=256).generate(
        requests, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(2, 6), (4, 6), (6, 6)]


def test_a_weight_change_is_seen_and_the_old_cache_is_not_used():
    decoder = tiny_decoder("qwen3", torch.float32)
    engine = RolloutEngine(decoder, cache_tokens=512)
    request = Request(0, list(range(40)), Sampler(max_tokens=10))
    engine.generate([request])
    with torch.no_grad():
        decoder.layers[0].qkv.weight.mul_(1.5)
    decoder.version += 1
    expected = RolloutEngine(decoder, cache_tokens=512).generate([request])
    changed = engine.generate([request])
    assert torch.equal(changed.logprobs, expected.logprobs) and torch.equal(
        changed.tokens, expected.tokens
    )


def test_release_gives_up_the_cache_and_takes_it_again():
    engine = RolloutEngine(tiny_decoder("llama", torch.float32), cache_tokens=512)
    request = Request(0, [1, 2, 3], Sampler(max_tokens=10))
    before = engine.generate([request])
    engine.release()
    assert engine.backend.cache is None
    assert torch.equal(engine.generate([request]).tokens, before.tokens)


def test_weights_are_packed_again_only_after_a_change():
    decoder = tiny_decoder("llama", torch.bfloat16)
    engine = RolloutEngine(decoder, cache_tokens=512)
    request = Request(0, [1, 2, 3], Sampler(max_tokens=10))
    before = engine.generate([request])
    packed = engine.backend.packed
    engine.release()
    assert torch.equal(engine.generate([request]).tokens, before.tokens)
    assert engine.backend.packed is packed
    with torch.no_grad():
        decoder.layers[0].qkv.weight.mul_(1.5)
    decoder.version += 1
    changed = engine.generate([request])
    assert engine.backend.packed is not packed
    expected = RolloutEngine(decoder, cache_tokens=512).generate([request])
    assert torch.equal(changed.logprobs, expected.logprobs) and not torch.equal(
        changed.logprobs, before.logprobs
    )


def test_what_a_rollout_took_is_logged(caplog):
    decoder = tiny_decoder("llama", torch.bfloat16)
    with caplog.at_level("DEBUG", logger="dftfast.rollout"):
        engine = RolloutEngine(decoder, cache_tokens=512)
        batch = engine.generate([Request(0, [1, 2, 3], Sampler(max_tokens=10))])
    text = caplog.text
    assert "weights of version 0 packed in" in text
    assert "cache of 512 tokens in 32 blocks" in text and "that are free" in text
    assert f"sampler against training forward: {batch.agreement}" in text
    assert "100.0% cut by the length limit" in text


@pytest.mark.parametrize(
    "requests, message",
    [
        (
            [Request(0, [1] * 60, Sampler(max_tokens=10))],
            "request 0: 60 prompt tokens and 10 new ones can never fit",
        ),
        ([Request(0, [1], Sampler(max_tokens=5000))], "exceed the model's context of"),
        ([Request(3, [1], Sampler(max_tokens=1))] * 2, "request 3: the id is used twice"),
        ([Request(0, [1 << 40], Sampler(max_tokens=1))], "outside the vocabulary"),
        (
            [Request(0, [1], Sampler(max_tokens=1, stop_strings=["x"]))],
            "need an engine with a tokenizer",
        ),
        (
            [Request(0, [1], Sampler(max_tokens=1, banned_token_ids=[1 << 40]))],
            "banned_token_ids holds",
        ),
    ],
)
def test_what_can_never_be_computed_is_refused(requests, message):
    engine = RolloutEngine(tiny_decoder("llama", torch.float32), cache_tokens=64)
    with pytest.raises(UserError, match=message):
        engine.generate(requests)
    assert engine.generate([Request(0, [1] * 55, Sampler(max_tokens=10))]).finish_reason == [
        "length"
    ]


def test_logits_that_are_not_finite_are_reported():
    decoder = tiny_decoder("llama", torch.float32)
    with torch.no_grad():
        decoder.norm.fill_(torch.nan)
    engine = RolloutEngine(decoder, cache_tokens=64)
    with pytest.raises(FloatingPointError, match="not finite"):
        engine.generate([Request(0, [1], Sampler(max_tokens=3))])
    assert engine.scheduler.pool.num_free == engine.scheduler.pool.size
