"""Prints the bytes that a small run takes.

They are: weights; cache; weights, adapter, gradients and moments; activations; and the packed copy
that rollouts in bf16 keep.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import torch

from dftfast.model.attention import packed_causal
from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.lora import add_adapter
from dftfast.rollout import Request, RolloutEngine, Sampler

MIDDLE = ModelConfig(
    model_type="qwen3",
    vocab_size=4000,
    hidden_size=512,
    intermediate_size=1536,
    num_layers=8,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
    rms_norm_eps=1e-6,
    rope_theta=1e4,
    rope_scaling=None,
    tie_word_embeddings=True,
    qk_norm=True,
    attention_bias=False,
    max_position_embeddings=4096,
    eos_token_ids=(),
)
RANK, SEQUENCES, LENGTH, UPDATE = 16, 16, 256, 1024


def resident() -> int:
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(config: ModelConfig, sequences: int) -> list[int]:
    start = resident()
    decoder = Decoder(config, torch.float32)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
    weights = resident() - start
    engine = RolloutEngine(
        decoder, cache_tokens=sequences * LENGTH, max_sequences=sequences, max_step_tokens=64
    )
    before = resident()
    requests = [
        Request(i, [i] + [7] * (LENGTH - 3), Sampler(max_tokens=2)) for i in range(sequences)
    ]
    engine.generate(requests)
    cache = resident() - before
    engine.release()
    parameters = add_adapter(decoder, RANK, RANK, seed=0)
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    fixed = resident() - start
    tokens = torch.arange(UPDATE) % 100
    hidden = decoder(tokens, tokens, packed_causal(torch.tensor([0, UPDATE])))
    activations = resident() - start - fixed
    assert hidden.requires_grad
    return [weights, cache, fixed, activations, packed_copy(config)]


def packed_copy(config: ModelConfig) -> int:
    decoder = Decoder(config, torch.bfloat16)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
    before = resident()
    engine = RolloutEngine(decoder, cache_tokens=64, max_sequences=1)
    engine.generate([Request(0, [1], Sampler(max_tokens=2))])
    engine.release()
    return resident() - before


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure(
        replace(MIDDLE, num_layers=1), 1
    )  # libraries load, and allocate for themselves, at their first use
    print(*measure(MIDDLE, SEQUENCES))
