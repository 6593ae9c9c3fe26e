"""Means of Gaussian kernels between the rows of x and y, without the n x m matrix.

Forward: a program owns BLOCK rows of x and a share of y; squared distances come from a tile of x yT
in three-term tf32 (as exact as fp32, on the tensor cores), and every bandwidth is applied to the
tile while it is in registers. Backward: dx = W y - rowsum(W) x with W_ij = sum_k grad_ik k_k(x_i,
y_j) / (h_k^2 m); one kernel writes W for as many rows at a time as fit in a fixed scratch, and the
product is cuBLAS's.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv, power_of_2, processors

# Not tuned on a card. Larger tiles, or pipelining, spill: three-term tf32 needs many registers.
TILE = dict(BLOCK=64, BLOCK_D=16, num_warps=4, num_stages=1)
SCRATCH = 1 << 24  # fp32 entries of W at a time: 64 MiB


@triton.jit
def _squared_distances(
    x, y, x2, y2, rows, columns, n, m, d, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr
):
    row_ok, column_ok = rows < n, columns < m
    dim = tl.arange(0, BLOCK_D)
    x_at = x + rows.to(tl.int64)[:, None] * d + dim[None, :]
    y_at = y + columns.to(tl.int64)[None, :] * d + dim[:, None]
    dot = tl.zeros([BLOCK, BLOCK], tl.float32)
    for start in range(0, d, BLOCK_D):
        dim_ok = start + dim < d
        a = tl.load(x_at + start, mask=row_ok[:, None] & dim_ok[None, :], other=0.0)
        b = tl.load(y_at + start, mask=dim_ok[:, None] & column_ok[None, :], other=0.0)
        dot = tl.dot(a, b, dot, input_precision="tf32x3")
    xx = tl.load(x2 + rows, mask=row_ok, other=0.0)
    yy = tl.load(y2 + columns, mask=column_ok, other=0.0)
    squared = xx[:, None] + yy[None, :] - 2.0 * dot
    # Below the rounding of the three terms the points coincide; not maximum(): a NaN has to stay
    # one.
    return tl.where(squared < 1e-6 * (xx[:, None] + yy[None, :]), 0.0, squared)


@triton.jit
def _forward(
    x,
    y,
    x2,
    y2,
    rates,
    partial,
    n,
    m,
    d,
    share,
    K: tl.constexpr,
    K_BLOCK: tl.constexpr,
    EXCLUDE: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bandwidth = tl.arange(0, K_BLOCK)
    sums = tl.zeros([BLOCK, K_BLOCK], tl.float32)
    begin = tl.program_id(1) * share
    for start in range(begin, min(begin + share, m), BLOCK):
        columns = start + tl.arange(0, BLOCK)
        squared = _squared_distances(x, y, x2, y2, rows, columns, n, m, d, BLOCK, BLOCK_D)
        keep = (columns < m)[None, :]
        if EXCLUDE:
            keep = keep & (rows[:, None] != columns[None, :])
        for k in tl.static_range(K):
            kernel = tl.exp2(squared * tl.load(rates + k))
            row_sum = tl.sum(tl.where(keep, kernel, 0.0), 1)
            sums += tl.where(bandwidth[None, :] == k, row_sum[:, None], 0.0)
    at = (tl.program_id(1).to(tl.int64) * n + rows)[:, None] * K + bandwidth[None, :]
    tl.store(partial + at, sums, mask=(rows < n)[:, None] & (bandwidth < K)[None, :])


@triton.jit
def _weights(
    x,
    y,
    x2,
    y2,
    rates,
    grad,
    weights,
    n,
    m,
    d,
    first_row,
    K: tl.constexpr,
    EXCLUDE: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """weights[i, j] = sum_k grad[first_row + i, k] exp2(rate_k d_ij^2).

    grad already carries 1 / (h^2 m).
    """
    rows = first_row + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    squared = _squared_distances(x, y, x2, y2, rows, columns, n, m, d, BLOCK, BLOCK_D)
    w = tl.zeros([BLOCK, BLOCK], tl.float32)
    for k in tl.static_range(K):
        g = tl.load(grad + rows.to(tl.int64) * K + k, mask=rows < n, other=0.0)
        w += g[:, None] * tl.exp2(squared * tl.load(rates + k))
    if EXCLUDE:
        w = tl.where(rows[:, None] == columns[None, :], 0.0, w)
    at = (rows - first_row).to(tl.int64)[:, None] * m + columns[None, :]
    tl.store(weights + at, w, mask=(rows < n)[:, None] & (columns < m)[None, :])


def _centred(x, y, bandwidths):
    """x and y about y's mean, their norms, and rates in base 2.

    Distances do not change by it, and |x|^2 + |y|^2 - 2xy cancels less.
    """
    x, y = x.float().contiguous(), y.float().contiguous()
    centre = y.mean(0)
    x, y = x - centre, y - centre
    rates = -1.4426950408889634 / (2.0 * bandwidths.float().square())
    return x, y, x.square().sum(1), y.square().sum(1), rates


def _split(rows: int, columns: int, block: int, device: torch.device) -> tuple[int, int]:
    """(programs along y, columns of each, a multiple of the block).

    There are enough programs for two on every processor.
    """
    tiles = cdiv(columns, block)
    splits = min(tiles, cdiv(2 * processors(device), cdiv(rows, block)))
    share = cdiv(tiles, splits) * block
    return cdiv(columns, share), share


def rbf_witness_forward(
    x: torch.Tensor, y: torch.Tensor, bandwidths: torch.Tensor, exclude_diagonal: bool
) -> torch.Tensor:
    (n, d), m, k = x.shape, y.shape[0], bandwidths.numel()
    pairs = m - int(exclude_diagonal)
    if n == 0 or pairs <= 0:
        return x.new_full((n, k), float("nan"), dtype=torch.float32)
    x, y, x2, y2, rates = _centred(x, y, bandwidths)
    splits, share = _split(n, m, TILE["BLOCK"], x.device)
    partial = torch.empty(splits, n, k, dtype=torch.float32, device=x.device)
    _forward[(cdiv(n, TILE["BLOCK"]), splits)](
        x,
        y,
        x2,
        y2,
        rates,
        partial,
        n,
        m,
        d,
        share,
        K=k,
        K_BLOCK=power_of_2(k),
        EXCLUDE=exclude_diagonal,
        **TILE,
    )
    return partial.sum(0) / pairs


def rbf_witness_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    bandwidths: torch.Tensor,
    exclude_diagonal: bool,
) -> torch.Tensor:
    """dx [n, d] for grad [n, k]."""
    (n, d), m, k = x.shape, y.shape[0], bandwidths.numel()
    pairs = m - int(exclude_diagonal)
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    if n == 0 or pairs <= 0:
        return dx.fill_(float("nan"))
    centred, targets, x2, y2, rates = _centred(x, y, bandwidths)
    scaled = (grad.float() / (bandwidths.float().square() * pairs)).contiguous()
    step = max(SCRATCH // m // TILE["BLOCK"], 1) * TILE["BLOCK"]
    weights = torch.empty(min(step, n), m, dtype=torch.float32, device=x.device)
    for first in range(0, n, step):
        rows = min(step, n - first)
        _weights[(cdiv(rows, TILE["BLOCK"]), cdiv(m, TILE["BLOCK"]))](
            centred,
            targets,
            x2,
            y2,
            rates,
            scaled,
            weights,
            first + rows,
            m,
            d,
            first,
            K=k,
            EXCLUDE=exclude_diagonal,
            **TILE,
        )
        w = weights[:rows]
        dx[first : first + rows] = (
            w @ targets - w.sum(1, keepdim=True) * centred[first : first + rows]
        )
    return dx
