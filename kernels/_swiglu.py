"""The gated activation between a decoder's two feed-forward products."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype, check_like, contiguous_like
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, where gate_up = [gate | up] along the last dimension.

    Shazeer, "GLU Variants Improve Transformer", 2020, https://arxiv.org/abs/2002.05202.

    gate_up: [..., 2F] float32, bfloat16 or float16. Returns [..., F] in the same dtype. Arithmetic
    is float32; as in transformers, silu(gate) is rounded before the product. Differentiable; saves
    gate_up.
    Raises ValueError for an odd last dimension, TypeError for other dtypes.
    """
    return _swiglu(gate_up)


def _check(gate_up: Tensor) -> None:
    check_dtype("swiglu", gate_up)
    if gate_up.dim() == 0 or gate_up.shape[-1] % 2:
        raise ValueError(f"swiglu: gate_up [..., 2F] expected, got {tuple(gate_up.shape)}")


def _check_backward(dy: Tensor, gate_up: Tensor) -> None:
    _check(gate_up)
    check_like("swiglu_backward", dy=(dy, _fake(gate_up)))


def _fake(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


def _cpu(gate_up: Tensor) -> Tensor:
    gate_up = gate_up.contiguous()
    y = _fake(gate_up)
    cpu_kernels.swiglu(
        DTYPES[y.dtype],
        gate_up.data_ptr(),
        y.data_ptr(),
        y.shape[:-1].numel(),
        y.shape[-1],
        torch.get_num_threads(),
    )
    return y


def _backward_cpu(dy: Tensor, gate_up: Tensor) -> Tensor:
    dy, gate_up = dy.contiguous(), gate_up.contiguous()
    out = torch.empty_like(gate_up)
    cpu_kernels.swiglu_backward(
        DTYPES[dy.dtype],
        dy.data_ptr(),
        gate_up.data_ptr(),
        out.data_ptr(),
        dy.shape[:-1].numel(),
        dy.shape[-1],
        torch.get_num_threads(),
    )
    return out


def _cuda(gate_up):
    from dftfast.kernels.triton.swiglu import swiglu_forward

    y = swiglu_forward(gate_up.reshape(gate_up.shape[:-1].numel(), gate_up.shape[-1]))
    return y.view(*gate_up.shape[:-1], y.shape[-1])


def _backward_cuda(dy, gate_up):
    from dftfast.kernels.triton.swiglu import swiglu_backward

    rows = (t.reshape(t.shape[:-1].numel(), t.shape[-1]) for t in (dy, gate_up))
    return swiglu_backward(*rows).view(gate_up.shape)


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, dy: Tensor):
    return _swiglu_backward(dy, *ctx.saved_tensors)


_swiglu_backward = Operator(
    "swiglu_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=lambda dy, gate_up: contiguous_like(gate_up),
    check=_check_backward,
)
_swiglu = Operator(
    "swiglu",
    cpu=_cpu,
    cuda=_cuda,
    fake=_fake,
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
