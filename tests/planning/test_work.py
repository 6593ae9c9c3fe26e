"""Counted operations and bytes against those of real models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

import dftfast.model.decoder as decoder_module
from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.planning.model_sizes import KNOWN
from dftfast.planning.rollout_steps import token_steps
from dftfast.planning.work import (
    causal_pairs,
    forward,
    head_weights,
    training_pass,
)
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.rollout.memory import num_layer_weights
from dftfast.rollout.scheduler import Scheduler

RANK, TOKENS = 8, 160
SIZES = replace(
    KNOWN["Qwen/Qwen3-0.6B"],
    vocab_size=512,
    hidden_size=128,
    intermediate_size=320,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=48,
    rope_theta=1e4,
    tie_word_embeddings=False,
    max_position_embeddings=512,
    eos_token_ids=(),
)


def reference():
    """transformers' Qwen3 of these sizes, whose attention computes every pair of tokens."""
    c = SIZES
    config = transformers.Qwen3Config(
        vocab_size=c.vocab_size,
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_heads,
        num_key_value_heads=c.num_kv_heads,
        head_dim=c.head_dim,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    return transformers.Qwen3ForCausalLM(config)


def counted(model, backward):
    tokens = torch.arange(TOKENS)[None] % SIZES.vocab_size
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
        logits = model(tokens, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


def operations(work):
    return work.products + work.attention + work.head


def test_a_forward_pass_has_the_operations_that_torch_counts():
    work = forward(SIZES, TOKENS, TOKENS**2, TOKENS)
    assert operations(work) == pytest.approx(counted(reference(), False), rel=2e-3)


@pytest.mark.parametrize("again", [0, 1])
def test_a_training_pass_has_the_operations_that_torch_counts(again):
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear")
    model = peft.get_peft_model(reference(), config).train()
    if again:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()  # which PEFT has set: the embedding is frozen
    work = training_pass(SIZES, RANK, TOKENS, TOKENS**2, TOKENS, again)
    # a layer that is computed again stops before its last product, which nothing needs
    skipped = again * 2 * TOKENS * SIZES.num_layers * SIZES.hidden_size
    skipped *= SIZES.intermediate_size + RANK
    found = counted(model, True)
    assert operations(work) - skipped <= found * 1.002
    assert operations(work) >= found * 0.998


def test_the_passes_over_rows_move_the_bytes_of_their_tensors(monkeypatch):
    c, moved = SIZES, []
    size = lambda tensors: sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
    for name, inputs in {"rms_norm": 1, "qk_norm_rope": 1, "add_rms_norm": 2, "swiglu": 1}.items():
        operator = getattr(decoder_module, name)

        def counted_operator(*arguments, operator=operator, inputs=inputs):
            results = operator(*arguments)
            outputs = results if isinstance(results, tuple) else (results,)
            moved.append(size(arguments[:inputs]) + size(outputs))
            return results

        monkeypatch.setattr(decoder_module, name, counted_operator)
    decoder = Decoder(c, torch.bfloat16)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
        tokens = torch.arange(TOKENS)
        hidden = decoder(tokens, tokens, packed_causal(torch.tensor([0, TOKENS])))
    final_norm = moved.pop()
    sums = c.num_layers * 3 * hidden.nbytes  # of the residual stream and what a layer adds
    assert final_norm == 2 * hidden.nbytes
    assert forward(c, TOKENS, 0, 0).rows == sum(moved) + sums


def test_weights_and_pairs():
    decoder = Decoder(SIZES, torch.bfloat16, "meta")
    matrices = sum(p.numel() for layer in decoder.layers for p in layer.parameters() if p.dim() > 1)
    assert num_layer_weights(SIZES) == matrices
    assert head_weights(SIZES) == decoder.head_weight.numel()
    assert causal_pairs([1, 4, 0]) == 1 + (1 + 2 + 3 + 4)


def test_known_models_have_the_published_sizes():
    billions = {  # of parameters, as published with the models
        "Qwen/Qwen3-0.6B": 0.596,
        "Qwen/Qwen3-1.7B": 1.721,
        "Qwen/Qwen3-4B": 4.022,
        "Qwen/Qwen3-8B": 8.191,
        "Qwen/Qwen3-14B": 14.768,
        "Qwen/Qwen3-32B": 32.762,
    }
    for name, config in KNOWN.items():
        decoder = Decoder(config, torch.bfloat16, "meta")
        found = sum(p.numel() for p in decoder.parameters()) / 1e9
        assert found == pytest.approx(billions.pop(name), abs=6e-4)
    assert not billions


def test_token_steps_are_those_of_the_engine(monkeypatch):
    lengths = [3, 30, 5, 9, 1, 12, 7, 2, 20, 4]
    decoder = Decoder(SIZES, torch.bfloat16)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
    seen, schedule = [], Scheduler.schedule

    def watched(scheduler):
        step = schedule(scheduler)
        seen.append([len(sequence.tokens) for sequence, _ in step.work])
        return step

    monkeypatch.setattr(Scheduler, "schedule", watched)
    engine = RolloutEngine(decoder, cache_tokens=1024, max_sequences=4, agreement_samples=0)
    engine.generate(
        [Request(i, [i + 1], Sampler(max_tokens=length)) for i, length in enumerate(lengths)]
    )
    steps = token_steps([1] * len(lengths), lengths, 4)
    assert steps.running.tolist() == [len(step) for step in seen if step]
    # a token is sampled after its keys are stored: the step's own tokens are in the cache
    assert steps.cached.tolist() == [sum(step) for step in seen if step]
    assert steps.running.sum() == sum(lengths)
    assert len(token_steps([], [], 4).running) == 0 and isinstance(steps.running, np.ndarray)
