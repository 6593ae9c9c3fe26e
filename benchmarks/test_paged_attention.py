"""paged_attention beside scaled_dot_product_attention on the same keys and values.

The peer's are gathered beforehand into one contiguous tensor without padding. `limit/ours`: for a
decode the share reached of the memory bandwidth (keys and values read once); for a prefill the time
of the two bare float32 products of the scores that causality leaves.

SmolLM2-135M (9 query and 3 key heads of 64) and Qwen3-0.6B (16, 8, 128), blocks of 16, bfloat16.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cpu_limits import bandwidth
from paired import record, seconds

from dftfast.kernels import paged_attention

LAYERS = {"SmolLM2-135M": (9, 3, 64), "Qwen3-0.6B": (16, 8, 128)}
PAGE = 16


@pytest.mark.parametrize("model", LAYERS)
@pytest.mark.parametrize(
    "sequences, length, queries", [(64, 128, 1), (16, 1024, 1), (8, 512, 512)], ids=str
)
def test_paged_attention(benchmark, sequences, length, queries, model):
    heads, kv_heads, dim = LAYERS[model]
    blocks = sequences * length // PAGE
    caches = torch.randn(2, blocks, PAGE, kv_heads, dim).bfloat16().unbind()
    table = torch.randperm(blocks).int().view(sequences, -1)
    offsets = torch.arange(sequences + 1, dtype=torch.int32) * queries
    lengths = torch.full((sequences,), length, dtype=torch.int32)
    q = torch.randn(sequences * queries, heads, dim).bfloat16()
    dense = [
        c[table.long()].view(sequences, length, kv_heads, dim).transpose(1, 2).contiguous()
        for c in caches
    ]
    rows = q.view(sequences, queries, heads, dim).transpose(1, 2)
    medians = record(
        benchmark,
        {
            "ours": lambda: paged_attention(q, *caches, table, offsets, lengths, dim**-0.5),
            "SDPA": lambda: F.scaled_dot_product_attention(
                rows, *dense, is_causal=queries > 1, enable_gqa=True
            ),
        },
    )
    if queries == 1:
        limit = 2 * caches[0].nbytes / bandwidth()
    else:
        scores, values = torch.randn(queries, length), torch.randn(length, dim)
        limit = (
            sequences * heads * min(seconds(lambda: scores @ values) for _ in range(20))
        )  # two products of half the scores
    benchmark.extra_info["limit/ours"] = round(limit / medians["ours"], 3)
