"""lora_linear at widths that AMX takes, against fp64; test_row_ops.py has the others."""

from __future__ import annotations

import pytest
import torch
from tolerance import assert_close

from dftfast.kernels import lora_linear
from dftfast.kernels.reference.lora_linear import lora_linear as plain

SPLITS, SIZE = [64, 32, 96], 128


def run(function, x, weight, a, b, bias, dtype=None):
    """The output and the gradients of x, a and b."""
    x, weight, a, b, bias = (t.to(dtype or t.dtype) for t in (x, weight, a, b, bias))
    leaves = [t.detach().requires_grad_() for t in (x, a, b)]
    y = function(leaves[0], weight, *leaves[1:], 0.7, bias, SPLITS)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    return [y, *torch.autograd.grad(y, leaves, cotangent.to(y.dtype))]


@pytest.mark.parametrize("rank", [4, 16, 32, 40])
@pytest.mark.parametrize("rows", [1, 33, 300])
def test_oracle(rows, rank):
    g = torch.Generator().manual_seed(rank)
    draw = lambda *shape: torch.randn(*shape, generator=g)
    x, weight, bias = draw(rows, SIZE), draw(192, SIZE) / SIZE**0.5, draw(192)
    a, b = draw(3 * rank, SIZE) / SIZE**0.5, draw(192, rank) / rank**0.5
    inputs = (x.bfloat16(), weight.bfloat16(), a, b, bias.bfloat16())
    exact, torchs = run(plain, *inputs, torch.float64), run(plain, *inputs)
    for i, (actual, expected, usual) in enumerate(zip(run(lora_linear, *inputs), exact, torchs)):
        assert_close("lora_linear", torch.bfloat16, actual, expected, usual)
        if i:
            with pytest.raises(AssertionError, match="exceeds"):
                assert_close("lora_linear", torch.bfloat16, 1.02 * actual, expected, usual)
