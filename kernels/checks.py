"""What several ops ask of their arguments."""

from __future__ import annotations

import torch
from torch import Tensor

# As the C++ kernels number them (csrc/dtype.h).
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def check_dtype(op: str, *tensors: Tensor) -> None:
    dtype = tensors[0].dtype
    if dtype not in DTYPES or any(t.dtype != dtype for t in tensors):
        names = ", ".join(sorted({str(t.dtype) for t in tensors}))
        raise TypeError(
            f"{op}: one of float32, bfloat16 and float16 expected for all tensors, got {names}; "
            "convert them"
        )


def check_floating(op: str, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{op}: floating-point {name} expected, got {tensor.dtype}")


def check_head_weights(op: str, q_weight: Tensor | None, k_weight: Tensor | None, D: int) -> None:
    """The weights of the norms of queries and keys: both of them, or none."""
    check_floating(op, q_weight=q_weight, k_weight=k_weight)
    for weight in (q_weight, k_weight):
        if (weight is None) != (q_weight is None) or (weight is not None and weight.shape != (D,)):
            raise ValueError(f"{op}: q_weight and k_weight must both be [{D}] or both None")


def check_like(op: str, **pairs: tuple[Tensor, Tensor]) -> None:
    """Each name's first tensor must have the shape and dtype of its second."""
    for name, (tensor, like) in pairs.items():
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise ValueError(
                f"{op}: {name} must be {like.dtype} {tuple(like.shape)}, "
                f"got {tensor.dtype} {tuple(tensor.shape)}"
            )


def check_vector(op: str, name: str, tensor: Tensor, length: int, dtype: torch.dtype) -> None:
    if tensor.shape != (length,) or tensor.dtype != dtype:
        raise ValueError(
            f"{op}: {name} must be {dtype} [{length}], got {tensor.dtype} {tuple(tensor.shape)}"
        )


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def contiguous_like(tensor: Tensor) -> Tensor:
    """What the kernels return for such a tensor: its shape and dtype, without gaps."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def in_autocast_dtype(*tensors: Tensor | None) -> list:
    """The tensors as a matrix product takes them under `torch.autocast`, unchanged outside it."""
    first = tensors[0]
    if first is None or not torch.is_autocast_enabled(first.device.type):
        return list(tensors)
    dtype = torch.get_autocast_dtype(first.device.type)
    return [t if t is None or t.dtype not in DTYPES else t.to(dtype) for t in tensors]
