"""The kernels of `lora_linear`: x W + scale * u v + bias, and dropout.

Ranks up to FUSED_RANK: one kernel accumulates x Wᵀ and x aᵀ in the same loop over the input width,
so x is read once; the low-rank part joins the accumulator in registers, before the only rounding.

A tile of columns never straddles two splits: a small table says where each tile begins and ends and
whose split it is.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _tile_of(program, row_tiles, column_tiles, GROUP: tl.constexpr):
    """Row and column tile of a program, in groups that share W in the L2 cache.

    A group has GROUP row tiles.
    """
    group = program // (GROUP * column_tiles)
    size = min(row_tiles - group * GROUP, GROUP)
    within = program % (GROUP * column_tiles)
    return group * GROUP + within % size, within // size


@triton.jit
def _kept(seed, index, dropout):
    """Whether dropout keeps element `index` (int64) of x: one Philox4x32-10 word an element."""
    low, high = (index & 0xFFFFFFFF).to(tl.uint32), (index >> 32).to(tl.uint32)
    word, _, _, _ = tl.philox(seed, low, high, low * 0, low * 0)
    return (word >> 8).to(tl.float32) * (1.0 / 16777216.0) >= dropout


@triton.jit
def dropout_kernel(x, seed, dropout, y, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < size, other=0.0).to(tl.float32)
    v = tl.where(_kept(tl.load(seed), at, dropout), v / (1.0 - dropout), 0.0)
    tl.store(y + at, v.to(y.dtype.element_ty), mask=at < size)


@triton.jit
def fused_forward_kernel(
    x,
    weight,
    a,
    b,
    bias,
    u,
    y,
    tiles,
    row_tiles,
    column_tiles,
    T,
    K,
    N,
    r,
    rank_total,
    scale,
    BIAS: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    tile_m, tile_n = _tile_of(tl.program_id(0), row_tiles, column_tiles, 8)
    first = tl.multiple_of(tl.load(tiles + 4 * tile_n), ALIGN)
    end = tl.multiple_of(tl.load(tiles + 4 * tile_n + 1), ALIGN)
    split, writes_u = tl.load(tiles + 4 * tile_n + 2), tl.load(tiles + 4 * tile_n + 3)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = first + tl.arange(0, BLOCK_N)
    rank = tl.arange(0, BLOCK_R)
    inner = tl.arange(0, BLOCK_K)
    row_ok, column_ok, rank_ok = rows < T, columns < end, rank < r

    x_at = x + rows.to(tl.int64)[:, None] * K + inner[None, :]
    w_at = weight + columns.to(tl.int64)[None, :] * K + inner[:, None]
    a_at = a + (split * r + rank).to(tl.int64)[None, :] * K + inner[:, None]
    acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    low = tl.zeros([BLOCK_M, BLOCK_R], tl.float32)
    for start in range(0, K, BLOCK_K):
        inner_ok = start + inner < K
        x_tile = tl.load(x_at + start, mask=row_ok[:, None] & inner_ok[None, :], other=0.0)
        w_tile = tl.load(w_at + start, mask=inner_ok[:, None] & column_ok[None, :], other=0.0)
        a_tile = tl.load(a_at + start, mask=inner_ok[:, None] & rank_ok[None, :], other=0.0)
        acc = tl.dot(x_tile, w_tile, acc, input_precision="tf32x3")
        low = tl.dot(x_tile, a_tile, low, input_precision="tf32x3")

    low = low.to(x.dtype.element_ty)
    u_at = u + rows.to(tl.int64)[:, None] * rank_total + (split * r + rank)[None, :]
    tl.store(u_at, low, mask=row_ok[:, None] & (rank < r * writes_u)[None, :])
    b_at = b + columns.to(tl.int64)[None, :] * r + rank[:, None]
    b_tile = tl.load(b_at, mask=rank_ok[:, None] & column_ok[None, :], other=0.0)
    acc += scale * tl.dot(low, b_tile, input_precision="tf32x3")
    if BIAS:
        acc += tl.load(bias + columns, mask=column_ok, other=0.0).to(tl.float32)[None, :]
    y_at = y + rows.to(tl.int64)[:, None] * N + columns[None, :]
    tl.store(y_at, acc.to(y.dtype.element_ty), mask=row_ok[:, None] & column_ok[None, :])


@triton.jit
def _low_rank(acc, u_rows, v_columns, row_ok, column_ok, R, v_k, BLOCK_R: tl.constexpr):
    """acc + u v over R ranks, from the first entries of the rows of u and the columns of v."""
    rank = tl.arange(0, BLOCK_R)
    u_at = u_rows + rank[None, :]
    v_at = v_columns + rank.to(tl.int64)[:, None] * v_k
    for start in range(0, R, BLOCK_R):
        rank_ok = start + rank < R
        u_tile = tl.load(u_at + start, mask=row_ok[:, None] & rank_ok[None, :], other=0.0)
        v_tile = tl.load(v_at + start * v_k, mask=rank_ok[:, None] & column_ok[None, :], other=0.0)
        acc = tl.dot(u_tile, v_tile, acc, input_precision="tf32x3")
    return acc


@triton.jit
def two_products_kernel(
    x,
    w,
    u,
    v,
    bias,
    y,
    tiles,
    row_tiles,
    column_tiles,
    T,
    K,
    N,
    R,
    u_stride,
    u_step,
    scale,
    w_k,
    w_n,
    v_k,
    v_n,
    BIAS: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """y = x w + scale * u[:, split] v + bias.

    w[k, n] and v[k, n] go by strides, u_step is the number of columns of u in a split.
    """
    tile_m, tile_n = _tile_of(tl.program_id(0), row_tiles, column_tiles, 8)
    first = tl.multiple_of(tl.load(tiles + 4 * tile_n), ALIGN)
    end = tl.multiple_of(tl.load(tiles + 4 * tile_n + 1), ALIGN)
    split = tl.load(tiles + 4 * tile_n + 2)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = first + tl.arange(0, BLOCK_N)
    row_ok, column_ok = rows < T, columns < end

    u_rows = u + rows.to(tl.int64)[:, None] * u_stride + split * u_step
    v_columns = v + columns.to(tl.int64)[None, :] * v_n
    acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    acc = _low_rank(acc, u_rows, v_columns, row_ok, column_ok, R, v_k, BLOCK_R) * scale

    inner = tl.arange(0, BLOCK_K)
    x_at = x + rows.to(tl.int64)[:, None] * K + inner[None, :]
    w_at = w + columns.to(tl.int64)[None, :] * w_n + inner.to(tl.int64)[:, None] * w_k
    for start in range(0, K, BLOCK_K):
        inner_ok = start + inner < K
        x_tile = tl.load(x_at + start, mask=row_ok[:, None] & inner_ok[None, :], other=0.0)
        w_start, w_ok = tl.cast(start, tl.int64) * w_k, inner_ok[:, None] & column_ok[None, :]
        w_tile = tl.load(w_at + w_start, mask=w_ok, other=0.0)
        acc = tl.dot(x_tile, w_tile, acc, input_precision="tf32x3")
    if BIAS:
        acc += tl.load(bias + columns, mask=column_ok, other=0.0).to(tl.float32)[None, :]
    y_at = y + rows.to(tl.int64)[:, None] * N + columns[None, :]
    tl.store(y_at, acc.to(y.dtype.element_ty), mask=row_ok[:, None] & column_ok[None, :])
