"""x Wᵀ + scale * blockwise(u_i b_iᵀ) + bias, u = dropout(x) aᵀ, forward and backward.

Ranks up to FUSED_RANK: one kernel accumulates x Wᵀ and x aᵀ in the same loop over the input width,
so x is read once; the low-rank part joins the accumulator in registers, before the only rounding.
Larger ranks, and dropout: u first, then one kernel for both products. Backward: P_i = scale * dY_i
b_i once, then dX = dY W + P a in one kernel (two with dropout).

A tile of columns never straddles two splits: a small table says where each tile begins and ends and
whose split it is.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import functools

import torch

from dftfast.kernels.triton.chip import capability, cdiv, power_of_2
from dftfast.kernels.triton.lora_linear_kernels import (
    dropout_kernel,
    fused_forward_kernel,
    two_products_kernel,
)

FUSED_RANK = 32

# (compute capability, dtype) -> (fewest, most) rows of x at which these kernels beat cuBLAS +
# addmm_ on that card. Empty: on an H100 the gradient never does and the forward only up to 16 rows
# or so, which no training step has.
WINS: dict[tuple[int, torch.dtype], tuple[int, int]] = {}


def tile(rows: int, dtype: torch.dtype, device: torch.device) -> dict:
    """Block shape by rows, dtype and chip.

    Not tuned on a card: chosen for no spills and for shared memory.
    """
    if dtype == torch.float32:
        return dict(BLOCK_M=32, BLOCK_N=64, BLOCK_K=16, num_warps=4, num_stages=2)
    if rows <= 32:
        return dict(BLOCK_M=32, BLOCK_N=64, BLOCK_K=64, num_warps=4, num_stages=4)
    if rows <= 512:
        return dict(BLOCK_M=64, BLOCK_N=128, BLOCK_K=32, num_warps=4, num_stages=4)
    if capability(device) >= 90:
        return dict(BLOCK_M=128, BLOCK_N=128, BLOCK_K=64, num_warps=8, num_stages=3)
    return dict(BLOCK_M=128, BLOCK_N=128, BLOCK_K=32, num_warps=8, num_stages=4)


@functools.lru_cache(maxsize=256)
def _column_tiles(splits: tuple[int, ...], block: int, device: torch.device) -> torch.Tensor:
    """int32 [tiles, 4]: first column, end of the split, split, whether it is the split's first."""
    rows, begin = [], 0
    for i, width in enumerate(splits):
        rows += [(begin + j, begin + width, i, int(j == 0)) for j in range(0, width, block)]
        begin += width
    return torch.tensor(rows, dtype=torch.int32, device=device)


def _dropped(x, dropout, seed):
    if dropout == 0.0:
        return x
    y = torch.empty_like(x)
    if x.numel():
        dropout_kernel[(cdiv(x.numel(), 1024),)](
            x, _seed(seed, x), dropout, y, x.numel(), BLOCK=1024, num_warps=4
        )
    return y


def _seed(seed, x):
    # A tensor, not a scalar: Triton compiles anew for a scalar that is 1 or a multiple of 16.
    return torch.full((1,), seed, dtype=torch.int64, device=x.device)


def fused_forward(x, weight, a, b, scale, bias, splits, dropout, seed):
    """The Triton path; the arguments and result of lora_linear_forward, a and b in x's dtype."""
    (T, K), N, r = x.shape, weight.shape[0], b.shape[1]
    y, config = x.new_empty(T, N), tile(T, x.dtype, x.device)
    tiles = _column_tiles(tuple(splits), config["BLOCK_N"], x.device)
    row_tiles = cdiv(T, config["BLOCK_M"])
    grid = (row_tiles * len(tiles),)
    if dropout == 0.0 and r <= FUSED_RANK:
        u = x.new_empty(T, a.shape[0])
        fused_forward_kernel[grid](
            x,
            weight,
            a,
            b,
            bias,
            u,
            y,
            tiles,
            row_tiles,
            len(tiles),
            T,
            K,
            N,
            r,
            a.shape[0],
            scale,
            BIAS=bias is not None,
            ALIGN=_alignment(splits),
            BLOCK_R=max(power_of_2(r), 16),
            **config,
        )
    else:
        u = _dropped(x, dropout, seed) @ a.t()
        two_products_kernel[grid](
            x,
            weight,
            u,
            b,
            bias,
            y,
            tiles,
            row_tiles,
            len(tiles),
            T,
            K,
            N,
            r,
            a.shape[0],
            r,
            scale,
            1,
            K,
            1,
            r,
            BIAS=bias is not None,
            ALIGN=_alignment(splits),
            BLOCK_R=_rank_block(r),
            **config,
        )
    return y, u


def fused_input_gradient(dy, p, weight, a):
    """The Triton path of dX = dY W + P a."""
    (T, K), N, R = dy.shape, weight.shape[1], p.shape[1]
    dx, config = dy.new_empty(T, N), tile(T, dy.dtype, dy.device)
    tiles = _column_tiles((N,), config["BLOCK_N"], dy.device)
    row_tiles = cdiv(T, config["BLOCK_M"])
    two_products_kernel[(row_tiles * len(tiles),)](
        dy,
        weight,
        p,
        a,
        None,
        dx,
        tiles,
        row_tiles,
        len(tiles),
        T,
        K,
        N,
        R,
        R,
        0,
        1.0,
        N,
        1,
        N,
        1,
        BIAS=False,
        ALIGN=_alignment((N,)),
        BLOCK_R=_rank_block(R),
        **config,
    )
    return dx


def _alignment(splits) -> int:
    """What every tile's first column is a multiple of, for wide loads and stores."""
    return 1 if any(width % 16 for width in splits) else 16


def _rank_block(rank: int) -> int:
    return min(max(power_of_2(rank), 16), 32)


def _wins(x: torch.Tensor) -> bool:
    fewest, most = WINS.get((capability(x.device), x.dtype), (1, 0))
    return fewest <= x.shape[0] <= most


def _blocks(splits: list[int], r: int):
    """(columns of the output, columns of u) of every split."""
    begin = 0
    for i, width in enumerate(splits):
        yield slice(begin, begin + width), slice(i * r, (i + 1) * r)
        begin += width


def lora_linear_forward(
    x: torch.Tensor,
    weight: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
    bias: torch.Tensor | None,
    splits: list[int],
    dropout: float,
    seed: int,
):
    """(y [T,out], u [T,P*r]) for x [T,in]."""
    x, weight = x.contiguous(), weight.contiguous()
    a, b = a.to(x.dtype).contiguous(), b.to(x.dtype).contiguous()
    if _wins(x):
        return fused_forward(x, weight, a, b, scale, bias, splits, dropout, seed)
    u = _dropped(x, dropout, seed) @ a.t()
    y = torch.nn.functional.linear(x, weight, bias)
    for columns, ranks in _blocks(splits, b.shape[1]):
        y[:, columns].addmm_(u[:, ranks], b[columns].t(), alpha=scale)
    return y, u


def lora_linear_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    u: torch.Tensor,
    weight: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
    splits: list[int],
    dropout: float,
    seed: int,
    needs: list[bool],
):
    """(dx, da, db), None where `needs` (of x, a, b) says so; da and db in the dtypes of a and b."""
    r, dx, da, db = b.shape[1], None, None, None
    dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
    if needs[2]:
        db = torch.empty_like(b)
        for columns, ranks in _blocks(splits, r):
            db[columns] = (scale * (dy[:, columns].t() @ u[:, ranks])).to(b.dtype)
    if needs[0] or needs[1]:
        low, p = b.to(dy.dtype), torch.empty_like(u)
        for columns, ranks in _blocks(splits, r):
            torch.mul(dy[:, columns] @ low[columns], scale, out=p[:, ranks])
    if needs[1]:
        da = (p.t() @ _dropped(x, dropout, seed)).to(a.dtype)
    if needs[0]:
        low = a.to(dy.dtype).contiguous()
        if dropout > 0.0:  # its random numbers do not fit in registers beside the accumulator
            dx = dy @ weight + _dropped(p @ low, dropout, seed)
        elif _wins(dy):
            dx = fused_input_gradient(dy, p, weight, low)
        else:
            dx = torch.addmm(dy @ weight, p, low)
    return dx, da, db
