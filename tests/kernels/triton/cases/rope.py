from __future__ import annotations

import pytest
import torch

from dftfast.kernels.reference.qk_norm_rope import rope
from dftfast.kernels.triton import rope as op


def formula(x, weight, cos, sin, dy, dtype):
    x = x.detach().to(dtype).requires_grad_()
    weight = None if weight is None else weight.detach().to(dtype).requires_grad_()
    wide = dtype if dtype == torch.float64 else torch.float32
    y, _ = rope(x, x.detach(), cos.to(wide), sin.to(wide), weight, weight)
    return y, *torch.autograd.grad(y, [t for t in (x, weight) if t is not None], dy.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch,positions,H,D", [(1, 1, 1, 2), (2, 3, 4, 80), (3, 5, 1, 64)])
@pytest.mark.parametrize("normed", [True, False])
def test_forward_and_backward(check, device, dtype, batch, positions, H, D, normed):
    x, dy = (torch.randn(batch, positions, H, D, device=device).to(dtype) for _ in range(2))
    weight = (1 + 0.3 * torch.randn(D, device=device)).to(dtype) if normed else None
    angle = torch.rand(positions, D // 2, device=device) * 7
    cos, sin = angle.cos(), angle.sin()
    saved = x if normed else None
    back = op.rope_backward(dy, saved, weight, cos, sin, 1e-6, True)
    frozen = op.rope_backward(dy, saved, weight, cos, sin, 1e-6, False)
    assert torch.equal(frozen[0], back[0]) and frozen[1] is None
    got = op.rope_forward(x, weight, cos, sin, 1e-6), *(g for g in back if g is not None)
    arguments = x, weight, cos, sin, dy
    check(got, formula(*arguments, torch.float64), formula(*arguments, dtype), dtype)


def test_no_tokens(device):
    empty, angle = torch.empty(0, 2, 16, device=device), torch.empty(0, 8, device=device)
    assert op.rope_forward(empty, None, angle, angle, 1e-6).shape == (0, 2, 16)
    gradient, _ = op.rope_backward(empty, None, None, angle, angle, 1e-6, True)
    assert gradient.shape == (0, 2, 16)
