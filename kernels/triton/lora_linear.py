"""x Wᵀ + scale * blockwise(u_i b_iᵀ) + bias, u = dropout(x) aᵀ, forward and backward.

Ranks up to FUSED_RANK: one kernel accumulates x Wᵀ and x aᵀ in the same loop over the input width, so x is read once; the
low-rank part joins the accumulator in registers, before the only rounding. Larger ranks, and dropout: u first, then one
kernel for both products. Backward: P_i = scale * dY_i b_i once, then dX = dY W + P a in one kernel (two with dropout).

A tile of columns never straddles two splits: a small table says where each tile begins and ends and whose split it is.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import capability, cdiv, power_of_2

FUSED_RANK = 32

# (compute capability, dtype) -> (fewest, most) rows of x at which these kernels beat cuBLAS + addmm_ on that card.
# Empty: on an H100 the gradient never does and the forward only up to 16 rows or so, which no training step has.
WINS: dict[tuple[int, torch.dtype], tuple[int, int]] = {}


def tile(rows: int, dtype: torch.dtype, device: torch.device) -> dict:
    """Block shape by rows, dtype and chip. Not tuned on a card: chosen for no spills and for shared memory."""
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
    """int32 [tiles, 4]: first column, end of the split, split, whether this is the split's first tile."""
    rows, begin = [], 0
    for i, width in enumerate(splits):
        rows += [(begin + j, begin + width, i, int(j == 0)) for j in range(0, width, block)]
        begin += width
    return torch.tensor(rows, dtype=torch.int32, device=device)


@triton.jit
def _tile_of(program, row_tiles, column_tiles, GROUP: tl.constexpr):
    """Row and column tile of a program, in groups of GROUP row tiles, so that neighbours share W in the L2 cache."""
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
def _dropout(x, seed, dropout, y, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < size, other=0.0).to(tl.float32)
    v = tl.where(_kept(tl.load(seed), at, dropout), v / (1.0 - dropout), 0.0)
    tl.store(y + at, v.to(y.dtype.element_ty), mask=at < size)


@triton.jit
def _fused_forward(
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
def _two_products(
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
    """y = x w + scale * u[:, split] v + bias; w[k, n] and v[k, n] by strides, u_step columns of u a split."""
    tile_m, tile_n = _tile_of(tl.program_id(0), row_tiles, column_tiles, 8)
    first = tl.multiple_of(tl.load(tiles + 4 * tile_n), ALIGN)
    end = tl.multiple_of(tl.load(tiles + 4 * tile_n + 1), ALIGN)
    split = tl.load(tiles + 4 * tile_n + 2)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = first + tl.arange(0, BLOCK_N)
    row_ok, column_ok = rows < T, columns < end

    rank = tl.arange(0, BLOCK_R)
    u_at = u + rows.to(tl.int64)[:, None] * u_stride + (split * u_step + rank)[None, :]
    v_at = v + columns.to(tl.int64)[None, :] * v_n + rank.to(tl.int64)[:, None] * v_k
    acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, R, BLOCK_R):
        rank_ok = start + rank < R
        u_tile = tl.load(u_at + start, mask=row_ok[:, None] & rank_ok[None, :], other=0.0)
        v_tile = tl.load(v_at + start * v_k, mask=rank_ok[:, None] & column_ok[None, :], other=0.0)
        acc = tl.dot(u_tile, v_tile, acc, input_precision="tf32x3")
    acc *= scale

    inner = tl.arange(0, BLOCK_K)
    x_at = x + rows.to(tl.int64)[:, None] * K + inner[None, :]
    w_at = w + columns.to(tl.int64)[None, :] * w_n + inner.to(tl.int64)[:, None] * w_k
    for start in range(0, K, BLOCK_K):
        inner_ok = start + inner < K
        x_tile = tl.load(x_at + start, mask=row_ok[:, None] & inner_ok[None, :], other=0.0)
        w_tile = tl.load(
            w_at + tl.cast(start, tl.int64) * w_k,
            mask=inner_ok[:, None] & column_ok[None, :],
            other=0.0,
        )
        acc = tl.dot(x_tile, w_tile, acc, input_precision="tf32x3")
    if BIAS:
        acc += tl.load(bias + columns, mask=column_ok, other=0.0).to(tl.float32)[None, :]
    y_at = y + rows.to(tl.int64)[:, None] * N + columns[None, :]
    tl.store(y_at, acc.to(y.dtype.element_ty), mask=row_ok[:, None] & column_ok[None, :])


def _dropped(x, dropout, seed):
    if dropout == 0.0:
        return x
    y = torch.empty_like(x)
    if x.numel():
        _dropout[(cdiv(x.numel(), 1024),)](
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
        _fused_forward[grid](
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
        _two_products[grid](
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
    _two_products[(row_tiles * len(tiles),)](
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
    """What every tile's first column is a multiple of, so that the compiler may use wide loads and stores."""
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
