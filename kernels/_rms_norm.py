"""Root-mean-square normalisation of rows, alone and fused with the residual addition before it."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import (
    DTYPES,
    address,
    check_dtype,
    check_floating,
    check_like,
    contiguous_like,
)
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """y = x / sqrt(mean(x²) + eps) * weight, over the last dimension.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.

    x: [..., d] float32, bfloat16 or float16; weight: [d], any floating dtype. Returns x's shape and
    dtype. Arithmetic is float32; as in transformers, x / rms is rounded to x's dtype before the
    product with the weight.
    Differentiable in x and weight; saves both; a frozen weight costs no gradient. Raises ValueError
    for a weight that does not fit, TypeError for other dtypes.
    """
    return _rms_norm(x, weight, eps)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(rms_norm(x + residual, weight, eps), x + residual) in one pass.

    The norm sees the sum after rounding.

    x, residual: [..., d], same shape and dtype; under autocast the narrower is widened, as an
    addition does. Differentiable in all three tensors; saves the sum and the weight.
    Raises as rms_norm does.
    """
    if x.dtype != residual.dtype and torch.is_autocast_enabled(x.device.type):
        wide = torch.promote_types(x.dtype, residual.dtype)
        x, residual = x.to(wide), residual.to(wide)
    return _add_rms_norm(x, residual, weight, eps)


def _check(op: str, x: Tensor, weight: Tensor) -> None:
    check_dtype(op, x)
    check_floating(op, weight=weight)
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        raise ValueError(
            f"{op}: weight [d] expected for x [..., d], got {tuple(weight.shape)} and "
            f"{tuple(x.shape)}"
        )


def _check_norm(x, weight, eps) -> None:
    _check("rms_norm", x, weight)


def _check_add(x, residual, weight, eps) -> None:
    _check("add_rms_norm", x, weight)
    check_dtype("add_rms_norm", x, residual)
    check_like("add_rms_norm", residual=(residual, x))


def _rows(x: Tensor) -> tuple[int, int]:
    """(rows, d) of x [..., d]."""
    return x.shape[:-1].numel(), x.shape[-1]


def _cpu(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _run(x, None, weight, eps)[0]


def _add_cpu(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
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
        *_rows(x),
        eps,
        torch.get_num_threads(),
    )
    return y, total


def _cuda(x, weight, eps):
    from dftfast.kernels.triton.rms_norm import rms_norm_forward

    return rms_norm_forward(x.reshape(_rows(x)), weight, eps).view(x.shape)


def _add_cuda(x, residual, weight, eps):
    from dftfast.kernels.triton.rms_norm import add_rms_norm_forward

    shape = _rows(x)
    y, total = add_rms_norm_forward(x.reshape(shape), residual.reshape(shape), weight, eps)
    return y.view(x.shape), total.view(x.shape)


def _setup_context(ctx, inputs, output) -> None:
    x, weight, ctx.eps = inputs
    ctx.save_for_backward(x, weight)


def _autograd(ctx, dy: Tensor):
    dx, *dweight = _rms_norm_backward(dy, *ctx.saved_tensors, ctx.eps, ctx.needs_input_grad[1])
    return dx, *(dweight or [None]), None


def _add_setup_context(ctx, inputs, output) -> None:
    *_, weight, ctx.eps = inputs
    ctx.save_for_backward(output[1], weight)


def _add_autograd(ctx, dy: Tensor, dtotal: Tensor):
    dx, *dweight = _add_rms_norm_backward(
        dy, dtotal, *ctx.saved_tensors, ctx.eps, ctx.needs_input_grad[2]
    )
    # Autograd may keep a gradient as it is and add to it in place: never the same memory twice.
    dresidual = dx.clone() if all(ctx.needs_input_grad[:2]) else dx
    return dx, dresidual, *(dweight or [None]), None


def _check_backward(dy, x, weight, eps, weight_grad) -> None:
    _check("rms_norm_backward", x, weight)
    check_like("rms_norm_backward", dy=(dy, x))


def _check_add_backward(dy, dtotal, total, weight, eps, weight_grad) -> None:
    _check("add_rms_norm_backward", total, weight)
    check_like("add_rms_norm_backward", dy=(dy, total), dtotal=(dtotal, total))


def _backward_cpu(
    dy: Tensor, x: Tensor, weight: Tensor, eps: float, weight_grad: bool
) -> list[Tensor]:
    """[dx], and the gradient of the weight where it is asked for."""
    return _run_backward(dy, None, x, weight, eps, weight_grad)


def _add_backward_cpu(
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
        *_rows(x),
        eps,
        torch.get_num_threads(),
    )
    return [dx] if dweight is None else [dx, dweight.to(weight.dtype)]


def _backward_cuda(dy, x, weight, eps, weight_grad):
    from dftfast.kernels.triton.rms_norm import rms_norm_backward

    shape = _rows(x)
    dx, dweight = rms_norm_backward(dy.reshape(shape), x.reshape(shape), weight, eps, weight_grad)
    return [dx.view(x.shape)] if dweight is None else [dx.view(x.shape), dweight]


def _add_backward_cuda(dy, dtotal, total, weight, eps, weight_grad):
    from dftfast.kernels.triton.rms_norm import add_rms_norm_backward

    dy, dtotal, rows = (t.reshape(_rows(total)) for t in (dy, dtotal, total))
    dx, dweight = add_rms_norm_backward(dy, dtotal, rows, weight, eps, weight_grad)
    return [dx.view(total.shape)] if dweight is None else [dx.view(total.shape), dweight]


def _fake_gradients(x: Tensor, weight: Tensor, weight_grad: bool) -> list[Tensor]:
    return [contiguous_like(x), *([contiguous_like(weight)] if weight_grad else [])]


_rms_norm_backward = Operator(
    "rms_norm_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=lambda dy, x, weight, eps, weight_grad: _fake_gradients(x, weight, weight_grad),
    check=_check_backward,
)
_add_rms_norm_backward = Operator(
    "add_rms_norm_backward",
    cpu=_add_backward_cpu,
    cuda=_add_backward_cuda,
    fake=lambda dy, dtotal, total, weight, eps, weight_grad: _fake_gradients(
        total, weight, weight_grad
    ),
    check=_check_add_backward,
)
_rms_norm = Operator(
    "rms_norm",
    cpu=_cpu,
    cuda=_cuda,
    fake=lambda x, weight, eps: contiguous_like(x),
    check=_check_norm,
    setup_context=_setup_context,
    backward=_autograd,
)
_add_rms_norm = Operator(
    "add_rms_norm",
    cpu=_add_cpu,
    cuda=_add_cuda,
    fake=lambda x, residual, weight, eps: (contiguous_like(x), contiguous_like(x)),
    check=_check_add,
    setup_context=_add_setup_context,
    backward=_add_autograd,
)
