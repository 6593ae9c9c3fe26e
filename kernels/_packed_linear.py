"""Small-batch bf16 products on a CPU, with the weight laid out once in reading order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.cpu_decoder import pack_matrix


@dataclass(frozen=True)
class PackedWeight:
    """A weight [out, in] of `packed_linear`. For odd `in`, `data` is the weight as it is."""

    data: Tensor
    out: int
    inner: int
    packed: bool


def pack_weight(weight: Tensor) -> PackedWeight:
    """weight: bfloat16 [out, in] on the CPU; a copy is kept.

    Raises ValueError for anything else.
    """
    if weight.dim() != 2 or weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        raise ValueError(
            "pack_weight: bfloat16 [out, in] on the CPU expected, "
            f"got {weight.dtype} {tuple(weight.shape)} "
            f"on {weight.device}"
        )
    packed = weight.shape[1] % 2 == 0
    weight = weight.detach()
    out, inner = weight.shape
    return PackedWeight(pack_matrix(weight) if packed else weight.clone(), out, inner, packed)


def packed_linear(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    out_dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """y = x Wᵀ + bias, summed in float32. Inference only.

    x: bfloat16 [T, in]; bias: bfloat16 [out] or None; out_dtype: bfloat16 or float32. Returns [T,
    out]. A row's result does not depend on the other rows, to the bit, where the weight is packed.
    Raises ValueError for shapes or dtypes that do not fit.
    """
    if x.dim() != 2 or x.shape[1] != weight.inner or x.dtype != torch.bfloat16:
        raise ValueError(
            f"packed_linear: bfloat16 x [T, {weight.inner}] expected, "
            f"got {x.dtype} {tuple(x.shape)}"
        )
    if not (x.is_cpu and (bias is None or bias.is_cpu)):
        raise ValueError("packed_linear: x and bias on the CPU expected, as the packed weight is")
    if bias is not None and (bias.shape != (weight.out,) or bias.dtype != torch.bfloat16):
        raise ValueError(
            f"packed_linear: bfloat16 bias [{weight.out}] expected, "
            f"got {bias.dtype} {tuple(bias.shape)}"
        )
    if out_dtype not in (torch.bfloat16, torch.float32):
        raise ValueError(f"packed_linear: out_dtype must be bfloat16 or float32, got {out_dtype}")
    if not weight.packed:
        wide_bias = None if bias is None else bias.to(out_dtype)
        return F.linear(x.to(out_dtype), weight.data.to(out_dtype), wide_bias)
    x, bias = x.contiguous(), None if bias is None else bias.contiguous()
    y = torch.empty(x.shape[0], weight.out, dtype=out_dtype)
    cpu_kernels.packed_product(
        x.data_ptr(),
        x.shape[0],
        weight.inner,
        weight.data.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        weight.out,
        y.data_ptr(),
        out_dtype == torch.float32,
        torch.get_num_threads(),
    )
    return y
