"""What happens to packed queries, keys and values between their product and attention."""

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


def qk_norm_rope(
    qkv: Tensor,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    H: int,
    Hk: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Split packed projections into heads, normalise and rotate every query and key head.

        q_h = rotate(rms_norm(qkv_h, q_weight)),  rotate([a | b]) = [a cos - b sin | b cos + a sin]

    Rotary positions as in Su et al., "RoFormer" (2021), equation 34, in the rotate-half layout of
    transformers; the norm of queries and keys as in Qwen3 (Henry et al., "Query-Key Normalization
    for Transformers", 2020).

    qkv: [T, (H + 2 Hk) D] float32, bfloat16 or float16, D even: H query heads, then Hk key heads,
    then Hk value heads. q_weight, k_weight: [D], any floating dtype, or both None for no norm. cos,
    sin: float32 [T, D / 2].
    Returns q [T, H, D], k [T, Hk, D], v [T, Hk, D] in qkv's dtype. Arithmetic is float32.
    Differentiable in qkv and the weights; saves those and cos, sin; frozen weights cost no
    gradient. Raises ValueError for shapes that do not fit,
    TypeError for other dtypes.
    """
    return _qk_norm_rope(qkv, q_weight, k_weight, cos, sin, H, Hk, eps)


def _check(qkv, q_weight, k_weight, cos, sin, H, Hk, eps) -> None:
    check_dtype("qk_norm_rope", qkv)
    heads = H + 2 * Hk
    if H < 1 or Hk < 1 or qkv.dim() != 2 or qkv.shape[1] % (2 * heads):
        raise ValueError(
            f"qk_norm_rope: qkv [T, ({H} + 2*{Hk})*D] with D even expected, got {tuple(qkv.shape)}"
        )
    half = (qkv.shape[0], qkv.shape[1] // heads // 2)
    if (
        cos.shape != half
        or sin.shape != half
        or cos.dtype != torch.float32
        or sin.dtype != torch.float32
    ):
        raise ValueError(
            f"qk_norm_rope: float32 cos and sin {half} expected, "
            f"got {cos.dtype} {tuple(cos.shape)} "
            f"and {sin.dtype} {tuple(sin.shape)}"
        )
    check_head_weights("qk_norm_rope", q_weight, k_weight, 2 * half[1])


def _check_backward(dq, dk, dv, qkv, q_weight, k_weight, cos, sin, H, Hk, eps, weight_grad) -> None:
    _check(qkv, q_weight, k_weight, cos, sin, H, Hk, eps)
    pairs = dict(zip(("dq", "dk", "dv"), zip((dq, dk, dv), _empty(qkv, H, Hk))))
    check_like("qk_norm_rope_backward", **pairs)


def _ready(qkv, q_weight, k_weight, cos, sin):
    weights = (None if w is None else w.float().contiguous() for w in (q_weight, k_weight))
    return qkv.contiguous(), *weights, cos.contiguous(), sin.contiguous()


def _cpu(
    qkv: Tensor,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    H: int,
    Hk: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = _ready(qkv, q_weight, k_weight, cos, sin)
    outputs = _empty(qkv, H, Hk)
    cpu_kernels.qk_norm_rope(
        DTYPES[qkv.dtype],
        *map(address, inputs),
        *map(address, outputs),
        qkv.shape[0],
        H,
        Hk,
        outputs[0].shape[2],
        eps,
        torch.get_num_threads(),
    )
    return outputs


def _empty(qkv: Tensor, H: int, Hk: int) -> tuple[Tensor, Tensor, Tensor]:
    tokens, width = qkv.shape
    q, k, v = (qkv.new_empty(tokens, heads, width // (H + 2 * Hk)) for heads in (H, Hk, Hk))
    return q, k, v


def _backward_cpu(
    dq: Tensor,
    dk: Tensor,
    dv: Tensor,
    qkv: Tensor,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    H: int,
    Hk: int,
    eps: float,
    weight_grad: bool,
) -> list[Tensor]:
    """[dqkv], and the gradients of the weights where there are any and they are asked for."""
    dq, dk, dv = dq.contiguous(), dk.contiguous(), dv.contiguous()
    inputs = _ready(qkv, q_weight, k_weight, cos, sin)
    weights = (
        [] if q_weight is None or k_weight is None or not weight_grad else [q_weight, k_weight]
    )
    dqkv = torch.empty_like(inputs[0])
    dweights = [torch.empty_like(w, dtype=torch.float32) for w in weights]
    cpu_kernels.qk_norm_rope_backward(
        DTYPES[qkv.dtype],
        *map(address, (dq, dk, dv)),
        *map(address, inputs),
        dqkv.data_ptr(),
        *(map(address, dweights) if weights else (0, 0)),
        qkv.shape[0],
        H,
        Hk,
        dq.shape[2],
        eps,
        torch.get_num_threads(),
    )
    return [dqkv, *(grad.to(weight.dtype) for grad, weight in zip(dweights, weights))]


def _cuda(qkv, q_weight, k_weight, cos, sin, H, Hk, eps):
    from dftfast.kernels.triton.qk_norm_rope import qk_norm_rope_forward

    return qk_norm_rope_forward(qkv, q_weight, k_weight, cos, sin, H, Hk, eps)


def _backward_cuda(dq, dk, dv, qkv, q_weight, k_weight, cos, sin, H, Hk, eps, weight_grad):
    from dftfast.kernels.triton.qk_norm_rope import qk_norm_rope_backward

    gradients = qk_norm_rope_backward(
        dq, dk, dv, qkv, q_weight, k_weight, cos, sin, H, Hk, eps, weight_grad
    )
    return [g for g in gradients if g is not None]


def _fake(qkv, q_weight, k_weight, cos, sin, H, Hk, eps):
    return _empty(qkv, H, Hk)


def _backward_fake(dq, dk, dv, qkv, q_weight, k_weight, cos, sin, H, Hk, eps, weight_grad):
    inputs = [qkv] if q_weight is None or not weight_grad else [qkv, q_weight, k_weight]
    return [contiguous_like(t) for t in inputs]


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.H, ctx.Hk, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx, dq: Tensor, dk: Tensor, dv: Tensor):
    gradients = _qk_norm_rope_backward(
        dq, dk, dv, *ctx.saved_tensors, ctx.H, ctx.Hk, ctx.eps, any(ctx.needs_input_grad[1:3])
    )
    return *[*gradients, None, None][:3], None, None, None, None, None


_qk_norm_rope_backward = Operator(
    "qk_norm_rope_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_backward_fake,
    check=_check_backward,
)
_qk_norm_rope = Operator(
    "qk_norm_rope",
    cpu=_cpu,
    cuda=_cuda,
    fake=_fake,
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
