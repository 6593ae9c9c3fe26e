"""Products of few rows with a packed weight, beside torch's bf16 linear and the machine's limit.

Every shape has as many copies of its weight as 256 MiB hold (one at least), used in turn, so that
weights come from memory as they do in a decoder. `torch/ours` above 1: ours is faster; `bar` is
what it should reach. `limit/ours`: share of the limit reached, that is of the memory bandwidth for
few rows and of the arithmetic rate for many.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from cpu_limits import product_seconds
from paired import compare

from dftfast.kernels import pack_weight, packed_linear

SHAPES = {  # (in, out)
    "SmolLM2 qkv": (576, 960),
    "SmolLM2 o": (576, 576),
    "SmolLM2 gate_up": (576, 3072),
    "SmolLM2 down": (1536, 576),
    "SmolLM2 head": (576, 49_152),
    "Qwen3-0.6B qkv": (1024, 4096),
    "Qwen3-0.6B o": (2048, 1024),
    "Qwen3-0.6B gate_up": (1024, 6144),
    "Qwen3-0.6B down": (3072, 1024),
    "Qwen3-4B qkv": (2560, 6144),
    "Qwen3-4B gate_up": (2560, 19_456),
    "Qwen3-4B down": (9728, 2560),
}
BARS = {1: 1.5}  # 1 at more rows


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 4, 8, 16, 32, 48, 64, 96, 128])
def test_packed_linear(benchmark, name, rows):
    inner, out = SHAPES[name]
    copies = max(2**28 // (2 * inner * out), 1)
    x = torch.randn(rows, inner).bfloat16()
    weights = [torch.randn(out, inner).bfloat16() for _ in range(copies)]
    packed = [pack_weight(weight) for weight in weights]
    ours, theirs = itertools.cycle(packed), itertools.cycle(weights)
    calls = max(min(copies, 20_000_000 // (out * inner)), 1)
    medians = compare(
        {
            "ours": lambda: [packed_linear(x, next(ours)) for _ in range(calls)],
            "torch": lambda: [F.linear(x, next(theirs)) for _ in range(calls)],
        }
    )
    limit = product_seconds(rows, inner * out) * calls
    benchmark.extra_info.update(
        ours_us=1e6 * medians["ours"] / calls,
        **{"torch/ours": medians["torch"] / medians["ours"], "limit/ours": limit / medians["ours"]},
        bar=BARS.get(rows, 1.0),
    )
    benchmark.pedantic(lambda: packed_linear(x, packed[0]), rounds=1)
