"""The low-rank part of `lora_linear` on AMX tiles.

A library's products with a rank on one side run at a tenth of its rate, since each passes over all
tokens for a few columns. Here the forward is one pass and the gradients are another (low_rank.h).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.compiled import cpu_kernels


def on_tiles(x: Tensor, a: Tensor, splits: list[int], dropout: float) -> bool:
    """Whether the tiles take it: bfloat16, whole tiles of columns, no dropout."""
    return (
        x.dtype == torch.bfloat16
        and not x.is_cuda
        and dropout == 0.0
        and len(a) > 0
        and not any(width % 32 for width in (x.shape[-1], *splits))
        and cpu_kernels.isa() == "amx"
    )


def add_low_rank(
    y: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, splits: list[int]
) -> Tensor:
    """y[T, out] += scale * (x aᵀ) bᵀ, block by block of `splits`; returns u = x aᵀ [T, P*r]."""
    x, u = x.contiguous(), x.new_empty(len(x), len(a))
    _call("add", a, b, scale, splits, len(x), x=x, u=u, y=y)
    return u


def low_rank_gradients(
    dy: Tensor,
    x: Tensor,
    u: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    splits: list[int],
    dx: Tensor | None,
    needs: list[bool],
) -> list[Tensor]:
    """The gradients of a and b that the last two of `needs` name, in their dtypes.

    That of x is added to dx [T, in].
    """
    da, db = (
        t.new_empty(t.shape, dtype=torch.float32) if n else None for t, n in zip((a, b), needs[1:])
    )
    arrays = {
        "dy": dy.contiguous(),
        "x": x.contiguous(),
        "u": u.contiguous(),
        "dx": dx,
        "da": da,
        "db": db,
    }
    _call("backward", a, b, scale, splits, len(x), **arrays)
    return [found.to(like.dtype) for found, like in ((da, a), (db, b)) if found is not None]


def _call(
    method: str,
    a: Tensor,
    b: Tensor,
    scale: float,
    splits: list[int],
    tokens: int,
    **arrays: Tensor | None,
) -> None:
    a, b = (t.to(torch.bfloat16).contiguous() for t in (a, b))
    layer = cpu_kernels.LowRank(
        columns=a.shape[1],
        out=len(b),
        rank=b.shape[1],
        splits=splits,
        a=a.data_ptr(),
        b=b.data_ptr(),
        scale=scale,
    )
    addresses = {name: 0 if t is None else t.data_ptr() for name, t in arrays.items()}
    getattr(layer, method)(tokens=tokens, threads=torch.get_num_threads(), **addresses)
