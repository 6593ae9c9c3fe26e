from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import qk_norm_rope as op


def norm(x, weight, eps):
    return (
        x if weight is None else x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
    )


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def formula(qkv, weights, cos, sin, H, Hk, eps, grads, dtype):
    qkv = qkv.detach().to(dtype).requires_grad_()
    weights = [None if w is None else w.detach().to(dtype).requires_grad_() for w in weights]
    cos, sin = cos.to(dtype), sin.to(dtype)
    q, k, v = qkv.view(qkv.shape[0], H + 2 * Hk, -1).split([H, Hk, Hk], 1)
    out = rotate(norm(q, weights[0], eps), cos, sin), rotate(norm(k, weights[1], eps), cos, sin), v
    wanted = [t for t in (qkv, *weights) if t is not None]
    return *out, *torch.autograd.grad(out, wanted, [g.to(dtype) for g in grads])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "tokens,H,Hk,D", [(1, 1, 1, 2), (5, 4, 2, 80), (7, 3, 1, 64), (2, 2, 2, 256)]
)
@pytest.mark.parametrize("normed", ["both", "none", "q"])
def test_forward_and_backward(check, device, dtype, tokens, H, Hk, D, normed):
    qkv = torch.randn(tokens, (H + 2 * Hk) * D, device=device).to(dtype)
    weights = [(1 + 0.3 * torch.randn(D, device=device)).to(dtype) for _ in range(2)]
    weights = {"both": weights, "none": [None, None], "q": [weights[0], None]}[normed]
    angle = torch.rand(tokens, D // 2, device=device) * 7
    cos, sin = angle.cos(), angle.sin()
    grads = [torch.randn(tokens, n, D, device=device).to(dtype) for n in (H, Hk, Hk)]

    out = op.qk_norm_rope_forward(qkv, *weights, cos, sin, H, Hk, 1e-6)
    back = op.qk_norm_rope_backward(*grads, qkv, *weights, cos, sin, H, Hk, 1e-6)
    assert [g is None for g in back[1:]] == [w is None for w in weights]
    frozen = op.qk_norm_rope_backward(
        *grads, qkv, *weights, cos, sin, H, Hk, 1e-6, weight_grad=False
    )
    assert torch.equal(frozen[0], back[0]) and frozen[1:] == (None, None)
    got = *out, *(g for g in back if g is not None)
    arguments = (qkv, weights, cos, sin, H, Hk, 1e-6, grads)
    check(got, formula(*arguments, torch.float64), formula(*arguments, dtype), dtype)


def test_no_tokens(device):
    empty, angle = torch.empty(0, 64, device=device), torch.empty(0, 8, device=device)
    q, k, v = op.qk_norm_rope_forward(empty, None, None, angle, angle, 2, 1, 1e-6)
    assert q.shape == (0, 2, 16) and k.shape == v.shape == (0, 1, 16)
    dqkv, dq_weight, dk_weight = op.qk_norm_rope_backward(
        q, k, v, empty, None, None, angle, angle, 2, 1, 1e-6
    )
    assert dqkv.shape == (0, 64) and dq_weight is None and dk_weight is None
