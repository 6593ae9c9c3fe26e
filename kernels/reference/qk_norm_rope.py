"""Plain PyTorch twins of `qk_norm_rope` and `rope`: the truth of their tests, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.reference.rms_norm import rms_norm


def qk_norm_rope(
    qkv, q_weight, k_weight, cos, sin, H: int, Hk: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    head_dim = qkv.shape[1] // (H + 2 * Hk)
    q, k, v = qkv.view(len(qkv), H + 2 * Hk, head_dim).split([H, Hk, Hk], 1)
    if q_weight is not None:
        q, k = rms_norm(q, q_weight, eps), rms_norm(k, k_weight, eps)
    return _rotate(q, cos, sin), _rotate(k, cos, sin), v


def rope(q, k, cos, sin, q_weight=None, k_weight=None, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    if q_weight is not None and k_weight is not None:
        q, k = rms_norm(q, q_weight, eps), rms_norm(k, k_weight, eps)
    rows = q.shape[:-2].numel() // max(1, len(cos))
    cos, sin = (t.repeat(rows, 1) for t in (cos, sin))
    turned = lambda x: _rotate(x.reshape(-1, *x.shape[-2:]), cos, sin).view(x.shape)
    return turned(q), turned(k)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.to(torch.promote_types(x.dtype, cos.dtype)).chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)
