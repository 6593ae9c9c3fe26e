"""Rotary positions, and the norm before them, of queries and keys in tensors of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import (
    DTYPES,
    address,
    check_dtype,
    check_head_weights,
    check_like,
    contiguous_like,
)
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def rope(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    q_weight: Tensor | None = None,
    k_weight: Tensor | None = None,
    eps: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    """`qk_norm_rope` of queries and keys that are not packed: norm every head, then rotate it.

        q_h = rotate(rms_norm(q_h, q_weight)),  rotate([a | b]) = [a cos - b sin | b cos + a sin]

    Su et al., "RoFormer" (2021), equation 34, in the rotate-half layout of transformers.

    q: [..., H, D], k: [..., Hk, D], both float32, bfloat16 or float16, D even, with the same
    leading dimensions: T tokens. cos, sin: float32 [N, D / 2] where N divides T; token t turns by
    row t mod N, so one row for each position serves a whole batch [B, N, H, D]. q_weight, k_weight:
    [D], any floating dtype, or both None for no norm.
    Returns both turned, in q's dtype. Arithmetic is float32. Differentiable in q, k and the
    weights; saves cos and sin, and q, k and the weights where there is a norm. Raises ValueError
    for shapes that do not fit, TypeError for other dtypes.
    """
    return _rope(q, k, q_weight, k_weight, cos, sin, eps)


def _check(q, k, q_weight, k_weight, cos, sin, eps) -> None:
    check_dtype("rope", q, k)
    same = q.dim() >= 2 and q.shape[:-2] == k.shape[:-2] and q.shape[-1] == k.shape[-1]
    if not same or q.shape[-1] % 2 or not (q.shape[-2] and k.shape[-2] and q.shape[-1]):
        raise ValueError(
            "rope: q [..., H, D] and k [..., Hk, D] with D even expected, "
            f"got {tuple(q.shape)} and {tuple(k.shape)}"
        )
    tokens, D = q.shape[:-2].numel(), q.shape[-1]
    check_like("rope", sin=(sin, cos))
    if cos.dtype != torch.float32 or cos.dim() != 2 or cos.shape[1] != D // 2:
        raise ValueError(
            f"rope: float32 cos and sin [N, {D // 2}] expected, got {cos.dtype} {tuple(cos.shape)}"
        )
    if tokens and (not len(cos) or tokens % len(cos)):
        raise ValueError(f"rope: {len(cos)} rows of cos do not divide {tokens} tokens")
    check_head_weights("rope", q_weight, k_weight, D)


def _check_backward(dq, dk, q, k, q_weight, k_weight, cos, sin, eps, weight_grad) -> None:
    _check(dq, dk, q_weight, k_weight, cos, sin, eps)
    for name, tensor, like in (("q", q, dq), ("k", k, dk)):
        if (tensor is None) != (q_weight is None):
            raise ValueError("rope_backward: q and k where there are weights, else None")
        if tensor is not None:
            check_like("rope_backward", **{name: (tensor, like)})


def _sizes(q: Tensor, k: Tensor, cos: Tensor) -> tuple[int, ...]:
    return q.shape[:-2].numel(), q.shape[-2], k.shape[-2], q.shape[-1], len(cos)


def _ready(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.contiguous() for t in tensors]


def _wide(*weights: Tensor | None) -> list[Tensor | None]:
    return [None if w is None else w.float().contiguous() for w in weights]


def _cpu(
    q: Tensor,
    k: Tensor,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    inputs = [*_ready(q, k), *_wide(q_weight, k_weight), *_ready(cos, sin)]
    outputs = contiguous_like(q), contiguous_like(k)
    if q.numel():
        cpu_kernels.rope(
            DTYPES[q.dtype],
            *map(address, inputs),
            *map(address, outputs),
            *_sizes(q, k, cos),
            eps,
            torch.get_num_threads(),
        )
    return outputs


def _backward_cpu(
    dq: Tensor,
    dk: Tensor,
    q: Tensor | None,
    k: Tensor | None,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    weight_grad: bool,
) -> list[Tensor]:
    """[dq, dk], and the gradients of the weights where there are any and they are asked for."""
    inputs = [*_ready(dq, dk, q, k), *_wide(q_weight, k_weight), *_ready(cos, sin)]
    weights = [w for w in (q_weight, k_weight) if w is not None and weight_grad]
    gradients = [contiguous_like(dq), contiguous_like(dk)]
    of_weights = [torch.zeros_like(w, dtype=torch.float32) for w in weights]
    if dq.numel():
        cpu_kernels.rope_backward(
            DTYPES[dq.dtype],
            *map(address, inputs),
            *map(address, gradients),
            *(map(address, of_weights) if weights else (0, 0)),
            *_sizes(dq, dk, cos),
            eps,
            torch.get_num_threads(),
        )
    return [*gradients, *(g.to(w.dtype) for g, w in zip(of_weights, weights))]


def _cuda(q, k, q_weight, k_weight, cos, sin, eps):
    from dftfast.kernels.triton.rope import rope_forward

    return tuple(rope_forward(x, w, cos, sin, eps) for x, w in ((q, q_weight), (k, k_weight)))


def _backward_cuda(dq, dk, q, k, q_weight, k_weight, cos, sin, eps, weight_grad):
    from dftfast.kernels.triton.rope import rope_backward

    (dq, dq_weight), (dk, dk_weight) = (
        rope_backward(dy, x, w, cos, sin, eps, weight_grad)
        for dy, x, w in ((dq, q, q_weight), (dk, k, k_weight))
    )
    return [g for g in (dq, dk, dq_weight, dk_weight) if g is not None]


def _fake_gradients(dq, dk, q, k, q_weight, k_weight, cos, sin, eps, weight_grad):
    weights = [w for w in (q_weight, k_weight) if w is not None and weight_grad]
    return [contiguous_like(t) for t in (dq, dk, *weights)]


def _setup_context(ctx, inputs, output) -> None:
    q, k, q_weight, k_weight, cos, sin, ctx.eps = inputs
    if q_weight is None:  # a rotation's gradient does not depend on what was rotated
        q = k = None
    ctx.save_for_backward(q, k, q_weight, k_weight, cos, sin)


def _autograd(ctx, dq: Tensor, dk: Tensor):
    gradients = _rope_backward(dq, dk, *ctx.saved_tensors, ctx.eps, any(ctx.needs_input_grad[2:4]))
    return *[*gradients, None, None][:4], None, None, None


_rope_backward = Operator(
    "rope_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_fake_gradients,
    check=_check_backward,
)
_rope = Operator(
    "rope",
    cpu=_cpu,
    cuda=_cuda,
    fake=lambda q, k, q_weight, k_weight, cos, sin, eps: (contiguous_like(q), contiguous_like(k)),
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
