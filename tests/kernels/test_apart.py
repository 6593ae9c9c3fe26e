"""`rope` and `swiglu` of tensors of their own beside the packed form, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from test_row_ops import DTYPES, arguments

from dftfast import kernels


@pytest.mark.parametrize("dtype", DTYPES)
def test_rope_and_swiglu_are_the_packed_ops(dtype):
    """Bit for bit, with one row of angles for each position of a batch."""
    qkv, *weights, cos, sin, H, Hk, eps = arguments("qk_norm_rope", 6, 16, dtype)
    q, k, _ = qkv.view(2, 3, 7, 32).split([3, 2, 2], 2)
    for norms in (weights, [None, None]):
        packed = qkv.clone().requires_grad_()
        cosines, sines = cos[:3].repeat(2, 1), sin[:3].repeat(2, 1)
        expected = kernels.qk_norm_rope(packed, *norms, cosines, sines, H, Hk, eps)[:2]
        apart = [t.clone().requires_grad_() for t in (q, k)]
        actual = kernels.rope(*apart, cos[:3], sin[:3], *norms, eps)
        ups = [torch.randn_like(y) for y in actual]
        (dqkv,) = torch.autograd.grad(expected, packed, [u.flatten(0, 1) for u in ups])
        gradients = torch.autograd.grad(actual, apart, ups)
        for a, e in zip(actual, expected):
            assert torch.equal(a.flatten(0, 1), e)
        assert torch.equal(torch.cat(gradients, 2).flatten(0, 1), dqkv.view(6, 7, 32)[:, :5])
    gate_up = qkv[:, :64]
    assert torch.equal(kernels.swiglu(*gate_up.chunk(2, 1)), kernels.swiglu(gate_up))


def test_what_does_not_fit_is_refused():
    x, w = torch.randn(3, 8), torch.randn(8)
    with pytest.raises(ValueError, match="up must be"):
        kernels.swiglu(x, x[:2])
    q, angle = torch.randn(6, 3, 8), torch.randn(4, 4)
    with pytest.raises(ValueError, match="do not divide 6 tokens"):
        kernels.rope(q, q, angle, angle)
    with pytest.raises(ValueError, match="both be"):
        kernels.rope(q, q, angle[:3], angle[:3], w)
    with pytest.raises(ValueError, match=r"q .* and k"):
        kernels.rope(q, q[:3], angle[:3], angle[:3])
