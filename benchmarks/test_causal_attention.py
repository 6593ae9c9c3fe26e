"""Attention of a training micro-batch on a CPU, forward and backward.

The peer is scaled_dot_product_attention a document at a time in float32 (its fastest form on a
CPU); the limit, the same products as bare float32 matrix products.
Sizes: 4,096 tokens in documents of 20 to 250, SmolLM2-135M (9 query and 3 key heads of 64) and
Qwen3-0.6B (16, 8, 128). Then one long document and many short ones beside SDPA in bfloat16 too.
"""

from __future__ import annotations

import pytest
import torch
from paired import record

from dftfast.kernels import causal_attention
from dftfast.kernels.reference import causal_attention as reference

LAYERS = {"SmolLM2-135M": (9, 3, 64), "Qwen3-0.6B": (16, 8, 128)}


@pytest.mark.parametrize("model", LAYERS)
def test_training_attention(benchmark, model):
    heads, kv_heads, dim = LAYERS[model]
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 251, (30,), generator=g)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    tokens = int(offsets[-1])
    q, k, v = (
        torch.randn(tokens, h, dim, generator=g).bfloat16().requires_grad_()
        for h in (heads, kv_heads, kv_heads)
    )
    dout = torch.randn(tokens, heads, dim, generator=g).bfloat16()

    def peer():
        wide = (x.float() for x in (q, k, v))
        return reference.causal_attention(*wide, offsets).to(q.dtype).backward(dout)

    squares = [(torch.randn(n, n), torch.randn(n, dim)) for n in lengths.tolist()]

    def products():  # two forward and five backward of n x n x D, half of each by causality
        for scores, rows in squares:
            for _ in range(heads * 7 // 2):
                scores @ rows

    record(
        benchmark,
        {
            "causal_attention": lambda: causal_attention(q, k, v, offsets).backward(dout),
            "SDPA by document": peer,
            "bare products": products,
        },
    )


@pytest.mark.parametrize("lengths, bar", [((2048,), 1), ((140,) * 16, 3)])
@pytest.mark.parametrize("model", LAYERS)
def test_against_sdpa(benchmark, model, lengths, bar):
    heads, kv_heads, dim = LAYERS[model]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    q, k, v = (
        torch.randn(sum(lengths), h, dim).bfloat16().requires_grad_()
        for h in (heads, kv_heads, kv_heads)
    )
    dout = torch.randn(sum(lengths), heads, dim).bfloat16()

    def peer(dtype: torch.dtype):
        converted = (x.to(dtype) for x in (q, k, v))
        reference.causal_attention(*converted, offsets).to(q.dtype).backward(dout)

    medians = record(
        benchmark,
        {
            "causal_attention": lambda: causal_attention(q, k, v, offsets).backward(dout),
            "SDPA bfloat16": lambda: peer(torch.bfloat16),
            "SDPA float32": lambda: peer(torch.float32),
        },
    )
    best = min(medians["SDPA bfloat16"], medians["SDPA float32"])
    benchmark.extra_info.update(
        {"SDPA/causal_attention": round(best / medians["causal_attention"], 3), "bar": bar}
    )
