"""Attention of a training micro-batch on a CPU, forward and backward.

The peer is scaled_dot_product_attention a document at a time in float32 (its fastest form on a
CPU); the limit, the same products as bare float32 matrix products.
Sizes: 4,096 tokens in documents of 20 to 250, SmolLM2-135M (9 query and 3 key heads of 64) and
Qwen3-0.6B (16, 8, 128).
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
