"""Root-mean-square normalisation of rows, alone and fused with the residual addition before it."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, address, check_dtype
from dftfast.kernels.compiled import cpu_kernels


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """y = x / sqrt(mean(x²) + eps) * weight, over the last dimension.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.

    x: [..., d] float32, bfloat16 or float16; weight: [d], any floating dtype. Returns x's shape and
    dtype. Arithmetic is float32; as in transformers, x / rms is rounded to x's dtype before the
    product with the weight.
    Differentiable in x and weight; saves both; a frozen weight costs no gradient. Raises ValueError
    for a weight that does not fit, TypeError for other dtypes.
    """
    _check("rms_norm", x, weight)
    return torch.ops.dftfast.rms_norm(x.reshape(-1, x.shape[-1]), weight, eps).view(x.shape)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(rms_norm(x + residual, weight, eps), x + residual) in one pass.

    The norm sees the sum after rounding.

    x, residual: [..., d], same shape and dtype. Differentiable in all three tensors; saves the sum
    and the weight.
    Raises as rms_norm does.
    """
    _check("add_rms_norm", x, weight)
    check_dtype("add_rms_norm", x, residual)
    if residual.shape != x.shape:
        raise ValueError(
            f"add_rms_norm: x {tuple(x.shape)} and residual {tuple(residual.shape)} differ in shape"
        )
    rows = (t.reshape(-1, x.shape[-1]) for t in (x, residual))
    y, total = torch.ops.dftfast.add_rms_norm(*rows, weight, eps)
    return y.view(x.shape), total.view(x.shape)


def _check(op: str, x: Tensor, weight: Tensor) -> None:
    check_dtype(op, x)
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        raise ValueError(
            f"{op}: weight [d] expected for x [..., d], got {tuple(weight.shape)} and "
            f"{tuple(x.shape)}"
        )


@torch.library.custom_op("dftfast::rms_norm", mutates_args=(), device_types="cpu")
def _forward(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _run(x, None, weight, eps)[0]


@torch.library.custom_op("dftfast::add_rms_norm", mutates_args=(), device_types="cpu")
def _add_forward(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    y, total = _run(x, residual.contiguous(), weight, eps)
    assert total is not None
    return y, total


def _run(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float):
    x, weight = x.contiguous(), weight.float().contiguous()
    y, total = torch.empty_like(x), None if residual is None else torch.empty_like(x)
    cpu_kernels.rms_norm(
        DTYPES[x.dtype],
        x.data_ptr(),
        address(residual),
        weight.data_ptr(),
        y.data_ptr(),
        address(total),
        *x.shape,
        eps,
        torch.get_num_threads(),
    )
    return y, total


@torch.library.custom_op("dftfast::rms_norm_backward", mutates_args=(), device_types="cpu")
def _backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float, weight_grad: bool) -> list[Tensor]:
    """[dx], and the gradient of the weight where it is asked for."""
    return _run_backward(dy, None, x, weight, eps, weight_grad)


@torch.library.custom_op("dftfast::add_rms_norm_backward", mutates_args=(), device_types="cpu")
def _add_backward(
    dy: Tensor, dtotal: Tensor, total: Tensor, weight: Tensor, eps: float, weight_grad: bool
) -> list[Tensor]:
    return _run_backward(dy, dtotal.contiguous(), total, weight, eps, weight_grad)


def _run_backward(
    dy: Tensor, dtotal: Tensor | None, x: Tensor, weight: Tensor, eps: float, weight_grad: bool
) -> list[Tensor]:
    dy, x, scale = dy.contiguous(), x.contiguous(), weight.float().contiguous()
    dx, dweight = torch.empty_like(x), torch.empty_like(scale) if weight_grad else None
    cpu_kernels.rms_norm_backward(
        DTYPES[x.dtype],
        dy.data_ptr(),
        address(dtotal),
        x.data_ptr(),
        scale.data_ptr(),
        dx.data_ptr(),
        address(dweight),
        *x.shape,
        eps,
        torch.get_num_threads(),
    )
    return [dx] if dweight is None else [dx, dweight.to(weight.dtype)]


@_forward.register_kernel("cuda")
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    from dftfast.kernels.triton.rms_norm import rms_norm_forward

    return rms_norm_forward(x, weight, eps)


@_add_forward.register_kernel("cuda")
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    from dftfast.kernels.triton.rms_norm import add_rms_norm_forward

    return add_rms_norm_forward(x, residual, weight, eps)


@_backward.register_kernel("cuda")
def _(dy: Tensor, x: Tensor, weight: Tensor, eps: float, weight_grad: bool) -> list[Tensor]:
    from dftfast.kernels.triton.rms_norm import rms_norm_backward

    return [g for g in rms_norm_backward(dy, x, weight, eps, weight_grad) if g is not None]


@_add_backward.register_kernel("cuda")
def _(
    dy: Tensor, dtotal: Tensor, total: Tensor, weight: Tensor, eps: float, weight_grad: bool
) -> list[Tensor]:
    from dftfast.kernels.triton.rms_norm import add_rms_norm_backward

    return [
        g
        for g in add_rms_norm_backward(dy, dtotal, total, weight, eps, weight_grad)
        if g is not None
    ]


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


_forward.register_fake(lambda x, weight, eps: _like(x))
_add_forward.register_fake(lambda x, residual, weight, eps: (_like(x), _like(x)))
_backward.register_fake(
    lambda dy, x, weight, eps, weight_grad: [_like(x)] + [_like(weight)] * weight_grad
)
_add_backward.register_fake(
    lambda dy, dtotal, total, weight, eps, weight_grad: (
        [_like(total)] + [_like(weight)] * weight_grad
    )
)


def _setup_context(ctx, inputs, output) -> None:
    x, weight, ctx.eps = inputs
    ctx.save_for_backward(x, weight)


def _autograd(ctx, dy: Tensor):
    dx, *dweight = torch.ops.dftfast.rms_norm_backward(
        dy, *ctx.saved_tensors, ctx.eps, ctx.needs_input_grad[1]
    )
    return dx, *(dweight or [None]), None


def _add_setup_context(ctx, inputs, output) -> None:
    *_, weight, ctx.eps = inputs
    ctx.save_for_backward(output[1], weight)


def _add_autograd(ctx, dy: Tensor, dtotal: Tensor):
    dx, *dweight = torch.ops.dftfast.add_rms_norm_backward(
        dy, dtotal, *ctx.saved_tensors, ctx.eps, ctx.needs_input_grad[2]
    )
    return dx, dx, *(dweight or [None]), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
_add_forward.register_autograd(_add_autograd, setup_context=_add_setup_context)
