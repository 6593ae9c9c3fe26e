"""The processor that this runs on, as a chip: its limits and shares, measured within seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dftfast.kernels import (
    add_rms_norm,
    causal_attention,
    linear_cross_entropy,
    lora_linear,
    pack_weight,
    packed_linear,
    sample_tokens,
    swiglu,
)
from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.model.device import pick_dtype
from dftfast.model.lora import add_adapter
from dftfast.pipeline.environment import processor
from dftfast.planning.chips import Chip, Shares
from dftfast.planning.model_sizes import KNOWN
from dftfast.planning.work import causal_pairs
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.rollout.free_memory import free_memory

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, RANK = 1024, 3072, 16, 8, 64, 32
VOCABULARY, TOKENS = 32_768, 1024
TINY = replace(
    KNOWN["Qwen/Qwen3-0.6B"],
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_layers=8,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    eos_token_ids=(),
)
STEP_CACHE = 0.3  # of the bandwidth, as benchmarks/test_paged_attention.py found it


def this_processor(clock: Callable[[], float] = time.perf_counter) -> Chip:
    """Limits and shares of this processor with torch's number of threads, in its training dtype.

    Args:
        clock: in seconds. With one thread `time.process_time` leaves out what other processes take.
    """
    dtype = pick_dtype(None, torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        return _Measurement(dtype, clock).chip()


@dataclass(frozen=True)
class _Measurement:
    dtype: torch.dtype
    clock: Callable[[], float]

    def chip(self) -> Chip:
        bandwidth, matrix = self.bandwidth(), self.matrix_rate()
        shares = Shares(
            products=self.lora_rate() / matrix,
            attention=self.attention_rate() / matrix,
            head=self.head_rate() / matrix,
            rows=self.row_rate() / bandwidth,
            prompt_products=self.packed_rate(512, 2048) / matrix,
            prompt_attention=self.attention_rate(backward=False) / matrix,
            step_products=self.packed_rate(64, 2048) / matrix,
            step_weights=self.packed_rate(1, 8192) / bandwidth,
            step_cache=STEP_CACHE,
            sampler=self.sampler_rate(0) / bandwidth,
            filtered_sampler=self.sampler_rate(50) / bandwidth,
        )
        return Chip(
            name=f"{processor()} ({torch.get_num_threads()} threads)",
            memory=free_memory(torch.device("cpu")),
            bandwidth=bandwidth,
            matrix=matrix,
            link=bandwidth,
            shares=shares,
            layer_seconds=self.layer_seconds(),
            step_seconds=self.step_seconds(),
            origin=f"measured just now, in {str(self.dtype).removeprefix('torch.')}; the share of "
            "a step's cache is assumed",
            cpu=True,
        )

    def fastest(self, call: Callable[[], object], rounds: int = 5) -> float:
        """Seconds of the call at its best, after one that warms up."""
        call()
        best = float("inf")
        for _ in range(rounds):
            started = self.clock()
            call()
            best = min(best, self.clock() - started)
        return best

    def bandwidth(self) -> float:
        source = torch.ones(1 << 26)
        target = torch.empty_like(source)
        return 2 * source.nbytes / self.fastest(lambda: target.copy_(source))

    def matrix_rate(self) -> float:
        x, weight = torch.randn(2048, 2048).to(self.dtype), torch.randn(2048, 2048).to(self.dtype)
        return 2 * 2048**3 / self.fastest(lambda: x @ weight.T)

    def lora_rate(self) -> float:
        """Of a layer's widest products, forward and backward, with an adapter on each."""
        x = torch.randn(TOKENS, HIDDEN).to(self.dtype).requires_grad_()
        weight = torch.randn(2 * INNER, HIDDEN).to(self.dtype)
        shapes = ((2 * RANK, HIDDEN), (2 * INNER, RANK))
        a, b = (torch.randn(shape, requires_grad=True) for shape in shapes)
        call = lambda: lora_linear(x, weight, a, b, 1.0, None, [INNER, INNER])
        operations = 2 * TOKENS * (2 * weight.numel() + 3 * (a.numel() + b.numel()))
        return operations / self.fastest(_with_backward(call))

    def attention_rate(self, backward: bool = True) -> float:
        lengths = [TOKENS // 8] * 8
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        q, k, v = (
            torch.randn(TOKENS, heads, HEAD_DIM).to(self.dtype).requires_grad_(backward)
            for heads in (HEADS, KV_HEADS, KV_HEADS)
        )
        call = lambda: causal_attention(q, k, v, offsets)
        operations = 4 * causal_pairs(lengths) * HEADS * HEAD_DIM * (3 if backward else 1)
        return operations / self.fastest(_with_backward(call) if backward else call)

    def head_rate(self) -> float:
        h = torch.randn(256, HIDDEN).to(self.dtype).requires_grad_()
        weight = torch.randn(VOCABULARY, HIDDEN).to(self.dtype)
        target, token_weight = torch.zeros(256, dtype=torch.int64), torch.ones(256)
        call = lambda: linear_cross_entropy(h, weight, target, token_weight)[0]
        return 2 * 2 * 256 * weight.numel() / self.fastest(_with_backward(call))

    def row_rate(self) -> float:
        """Bytes a second as `work` counts them: two a number, thrice with the backward pass."""
        x, residual = (
            torch.randn(TOKENS, HIDDEN).to(self.dtype).requires_grad_() for _ in range(2)
        )
        gate_up = torch.randn(TOKENS, 2 * INNER).to(self.dtype).requires_grad_()
        norm = torch.ones(HIDDEN, dtype=self.dtype)
        norms = self.fastest(_with_backward(lambda: add_rms_norm(x, residual, norm, 1e-6)[0]))
        gates = self.fastest(_with_backward(lambda: swiglu(gate_up)))
        return 3 * 2 * TOKENS * (4 * HIDDEN + 3 * INNER) / (norms + gates)

    def packed_rate(self, rows: int, size: int) -> float:
        """Of packed bf16 products: operations a second, or bytes a second of one row."""
        x, weight = (
            torch.randn(rows, size).bfloat16(),
            pack_weight(torch.randn(size, size).bfloat16()),
        )
        taken = self.fastest(lambda: packed_linear(x, weight))
        return 2 * size * size * rows / taken

    def sampler_rate(self, top_k: int) -> float:
        rows = 32
        logits = torch.randn(rows, VOCABULARY)
        zeros, ones = torch.zeros(rows), torch.ones(rows)
        kept, numbers = torch.full((rows,), top_k, dtype=torch.int32), torch.arange(rows)
        call = lambda: sample_tokens(logits, ones, kept, ones, zeros, numbers, numbers, numbers)
        return logits.nbytes / self.fastest(call)

    def layer_seconds(self) -> float:
        """Of a layer's forward and backward pass where there is next to nothing to compute."""
        decoder = _tiny(self.dtype)
        add_adapter(decoder, 4, 4, seed=0)
        tokens = torch.arange(8)
        attend = packed_causal(torch.tensor([0, 8]))
        call = lambda: decoder(tokens, tokens, attend)
        return self.fastest(_with_backward(call)) / TINY.num_layers

    def step_seconds(self) -> float:
        """Of a token step of a few sequences where there is next to nothing to compute."""
        engine = RolloutEngine(_tiny(torch.bfloat16), cache_tokens=4096, agreement_samples=0)
        requests = [Request(i, [1, 2, 3], Sampler(max_tokens=64)) for i in range(16)]
        return self.fastest(lambda: engine.generate(requests), 3) / 64


def _with_backward(call: Callable[[], Tensor]) -> Callable[[], None]:
    gradient = torch.randn_like(call())
    return lambda: call().backward(gradient)


def _tiny(dtype: torch.dtype) -> Decoder:
    decoder = Decoder(TINY, dtype)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
    return decoder
