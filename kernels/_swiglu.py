"""The gated activation between a decoder's two feed-forward products."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype
from dftfast.kernels.compiled import cpu_kernels


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, where gate_up = [gate | up] along the last dimension.

    Shazeer, "GLU Variants Improve Transformer", 2020, https://arxiv.org/abs/2002.05202.

    gate_up: [..., 2F] float32, bfloat16 or float16. Returns [..., F] in the same dtype. Arithmetic
    is float32; as in transformers, silu(gate) is rounded before the product. Differentiable; saves
    gate_up.
    Raises ValueError for an odd last dimension, TypeError for other dtypes.
    """
    check_dtype("swiglu", gate_up)
    if gate_up.dim() == 0 or gate_up.shape[-1] % 2:
        raise ValueError(f"swiglu: gate_up [..., 2F] expected, got {tuple(gate_up.shape)}")
    width = gate_up.shape[-1]
    return torch.ops.dftfast.swiglu(gate_up.reshape(-1, width)).view(
        *gate_up.shape[:-1], width // 2
    )


@torch.library.custom_op("dftfast::swiglu", mutates_args=(), device_types="cpu")
def _forward(gate_up: Tensor) -> Tensor:
    gate_up = gate_up.contiguous()
    y = gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2)
    cpu_kernels.swiglu(
        DTYPES[y.dtype], gate_up.data_ptr(), y.data_ptr(), *y.shape, torch.get_num_threads()
    )
    return y


@torch.library.custom_op("dftfast::swiglu_backward", mutates_args=(), device_types="cpu")
def _backward(dy: Tensor, gate_up: Tensor) -> Tensor:
    dy, gate_up = dy.contiguous(), gate_up.contiguous()
    out = torch.empty_like(gate_up)
    cpu_kernels.swiglu_backward(
        DTYPES[dy.dtype],
        dy.data_ptr(),
        gate_up.data_ptr(),
        out.data_ptr(),
        *dy.shape,
        torch.get_num_threads(),
    )
    return out


@_forward.register_kernel("cuda")
def _(gate_up: Tensor) -> Tensor:
    from dftfast.kernels.triton.swiglu import swiglu_forward

    return swiglu_forward(gate_up)


@_backward.register_kernel("cuda")
def _(dy: Tensor, gate_up: Tensor) -> Tensor:
    from dftfast.kernels.triton.swiglu import swiglu_backward

    return swiglu_backward(dy, gate_up)


_forward.register_fake(lambda gate_up: gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2))
_backward.register_fake(
    lambda dy, gate_up: torch.empty_like(gate_up, memory_format=torch.contiguous_format)
)


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, dy: Tensor):
    return torch.ops.dftfast.swiglu_backward(dy, *ctx.saved_tensors)


_forward.register_autograd(_autograd, setup_context=_setup_context)
