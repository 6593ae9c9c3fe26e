"""The gated activation between a decoder's two feed-forward products."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype, check_like, contiguous_like
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def swiglu(gate: Tensor, up: Tensor | None = None) -> Tensor:
    """silu(gate) * up.

    Shazeer, "GLU Variants Improve Transformer", 2020, https://arxiv.org/abs/2002.05202.

    gate, up: [..., F] float32, bfloat16 or float16, same shape and dtype; or gate alone [..., 2F],
    which holds both side by side, [gate | up]. Returns [..., F] in the same dtype. Arithmetic
    is float32; as in transformers, silu(gate) is rounded before the product. Differentiable; saves
    its arguments.
    Raises ValueError for shapes that differ or an odd last dimension, TypeError for other dtypes.
    """
    return _swiglu(gate, up)


def _check(gate: Tensor, up: Tensor | None) -> None:
    check_dtype("swiglu", *(t for t in (gate, up) if t is not None))
    if up is not None:
        check_like("swiglu", up=(up, gate))
    if gate.dim() == 0 or (up is None and gate.shape[-1] % 2):
        raise ValueError(
            "swiglu: gate and up [..., F], or one [..., 2F] of both, expected, "
            f"got {tuple(gate.shape)}"
        )


def _check_backward(dy: Tensor, gate: Tensor, up: Tensor | None) -> None:
    _check(gate, up)
    check_like("swiglu_backward", dy=(dy, _fake(gate, up)))


def _fake(gate: Tensor, up: Tensor | None) -> Tensor:
    return gate.new_empty(*gate.shape[:-1], gate.shape[-1] // (2 if up is None else 1))


def _fake_gradients(dy: Tensor, gate: Tensor, up: Tensor | None) -> list[Tensor]:
    return [contiguous_like(t) for t in (gate, up) if t is not None]


def _contiguous(gate: Tensor, up: Tensor | None) -> list[Tensor]:
    return [t.contiguous() for t in (gate, up) if t is not None]


def _addresses(tensors: list[Tensor]) -> tuple[int, int]:
    """Where gate and up begin, each of them its own tensor or half of the rows of one."""
    first, last = tensors[0], tensors[-1]
    half = 0 if len(tensors) == 2 else first.shape[-1] // 2
    return first.data_ptr(), last.data_ptr() + half * last.element_size()


def _cpu(gate: Tensor, up: Tensor | None) -> Tensor:
    y, inputs = _fake(gate, up), _contiguous(gate, up)
    cpu_kernels.swiglu(
        DTYPES[y.dtype],
        *_addresses(inputs),
        y.data_ptr(),
        y.shape[:-1].numel(),
        y.shape[-1],
        gate.shape[-1],
        torch.get_num_threads(),
    )
    return y


def _backward_cpu(dy: Tensor, gate: Tensor, up: Tensor | None) -> list[Tensor]:
    """[dgate, dup], or the one gradient of both."""
    dy, inputs, gradients = dy.contiguous(), _contiguous(gate, up), _fake_gradients(dy, gate, up)
    cpu_kernels.swiglu_backward(
        DTYPES[dy.dtype],
        dy.data_ptr(),
        *_addresses(inputs),
        *_addresses(gradients),
        dy.shape[:-1].numel(),
        dy.shape[-1],
        gate.shape[-1],
        torch.get_num_threads(),
    )
    return gradients


def _rows(*tensors: Tensor | None) -> list:
    return [None if t is None else t.reshape(t.shape[:-1].numel(), t.shape[-1]) for t in tensors]


def _cuda(gate, up):
    from dftfast.kernels.triton.swiglu import swiglu_forward

    return swiglu_forward(*_rows(gate, up)).view(_fake(gate, up).shape)


def _backward_cuda(dy, gate, up):
    from dftfast.kernels.triton.swiglu import swiglu_backward

    return [g.view(gate.shape) for g in swiglu_backward(*_rows(dy, gate, up))]


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, dy: Tensor):
    gate, up = ctx.saved_tensors
    gradients = _swiglu_backward(dy, gate, up)
    return gradients[0], None if up is None else gradients[1]


_swiglu_backward = Operator(
    "swiglu_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_fake_gradients,
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
