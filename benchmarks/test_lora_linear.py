"""A frozen linear layer with adapters of rank 16 on 1,024 tokens, forward and backward.

The gradients are dX, dA and dB. Beside it the same layer written as PEFT's is: the base product,
then for each of the packed projections two products of rank r, by autograd.

In the dtype in which this machine trains: bfloat16 where it has instructions for it, else float32.
`limit/lora_linear`: the two base products alone (X Wᵀ and dY W) over the whole. At least as fast as
the peer is the bar.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from paired import record

from dftfast.kernels import lora_linear
from dftfast.model.device import pick_dtype

TOKENS, RANK = 1024, 16
SHAPES = {  # in, widths of the packed projections
    "SmolLM2 qkv": (576, [576, 192, 192]),
    "SmolLM2 gate_up": (576, [1536, 1536]),
    "SmolLM2 down": (1536, [576]),
    "Qwen3-0.6B qkv": (1024, [2048, 1024, 1024]),
    "Qwen3-0.6B gate_up": (1024, [3072, 3072]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_lora_linear(benchmark, name):
    inner, splits = SHAPES[name]
    dtype, out = pick_dtype(None, torch.device("cpu")), sum(splits)
    x, dy = (torch.randn(TOKENS, n).to(dtype) for n in (inner, out))
    weight = (torch.randn(out, inner) / inner**0.5).to(dtype)
    a, b = torch.randn(len(splits) * RANK, inner) / inner**0.5, torch.randn(out, RANK)
    leaves = [t.requires_grad_() for t in (x, a, b)]

    def ours():
        torch.autograd.grad(lora_linear(x, weight, a, b, 2.0, splits=splits), leaves, dy)

    def peer():
        parts = zip(weight.split(splits), a.to(dtype).split(RANK), b.to(dtype).split(splits))
        y = [F.linear(x, w) + 2.0 * F.linear(F.linear(x, a_i), b_i) for w, a_i, b_i in parts]
        torch.autograd.grad(y, leaves, dy.split(splits, -1))

    def products():
        with torch.no_grad():
            return x @ weight.t(), dy @ weight

    medians = record(
        benchmark, {"lora_linear": ours, "as in PEFT": peer, "products": products}, rounds=5
    )
    share = medians["products"] / medians["lora_linear"]
    benchmark.extra_info.update(
        {"dtype": str(dtype), "limit/lora_linear": round(share, 3), "bar": 1}
    )
