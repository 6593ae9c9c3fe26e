"""Attention over a paged cache, decode and prefill in one kernel, and writes to the cache.

The query heads that share a key head are packed into the rows of a tile, token by token, so that
the tensor cores see G = H / Hk rows a token. Tiles are numbered without the host knowing any
length: sequence s begins at tile query_offsets[s] * G // BLOCK_M + s, and a program finds its
sequence by bisection. Where every sequence has one query (decode), the keys are also split into
shares of `SHARE` and merged by a second kernel (Flash-Decoding). As many shares are launched as the
block table has room for; a program whose share begins beyond its sequence leaves at once, and the
merge reads the others alone. So a result does not depend on the rest of the batch, and a table cut
to the longest sequence launches no program in vain.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv, power_of_2

SHARE = 512  # keys of one program in a decode: a whole number of key blocks


def tile(decode: bool, group: int, d: int, dtype: torch.dtype) -> dict:
    """Block shape.

    Not tuned on a card: large ones that do not spill and fit the 99 KB of sm_86 and sm_89.
    """
    d, packed = power_of_2(d), max(power_of_2(group), 16)
    if (
        dtype == torch.float32
    ):  # three-term tf32 needs many registers: without the cap ptxas spills for occupancy
        keys, warps = (32, 4) if d <= 128 else (16, 8)
        return dict(
            BLOCK_M=packed if decode else 16,
            BLOCK_N=keys,
            num_warps=warps,
            num_stages=2,
            maxnreg=255,
        )
    if decode:
        return dict(BLOCK_M=packed, BLOCK_N=64, num_warps=4, num_stages=2)
    return dict(
        BLOCK_M=64, BLOCK_N=64 if d <= 128 else 32, num_warps=4 if d <= 64 else 8, num_stages=2
    )


@triton.jit
def _sequence_of(tile, query_offsets, S, G: tl.constexpr, BLOCK_M: tl.constexpr):
    """Last sequence whose first tile is not after `tile`."""
    low, high = 0, S
    while high - low > 1:
        middle = (low + high) // 2
        after = tl.load(query_offsets + middle) * G // BLOCK_M + middle > tile
        low = tl.where(after, low, middle)
        high = tl.where(after, middle, high)
    return low


@triton.jit
def _attend_keys(
    q_tile,
    k_cache,
    v_cache,
    blocks,
    first,
    end,
    last_key,
    key_head,
    dim,
    dim_ok,
    scale,
    HK: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """(maximum, normaliser, weighted sum of values) of the keys from `first` to `end`, base 2."""
    m = tl.full([BLOCK_M], float("-inf"), tl.float32)
    z = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(first, end, BLOCK_N):
        position = start + tl.arange(0, BLOCK_N)
        key_ok = position < end
        page = tl.load(blocks + position // PAGE, mask=key_ok, other=0)
        slot = (page.to(tl.int64) * PAGE + position % PAGE) * HK + key_head
        keys = tl.load(
            k_cache + slot[None, :] * D + dim[:, None],
            mask=dim_ok[:, None] & key_ok[None, :],
            other=0.0,
        )
        scores = tl.dot(q_tile, keys, input_precision="tf32x3") * (scale * 1.4426950408889634)
        scores = tl.where(position[None, :] <= last_key[:, None], scores, float("-inf"))
        new = tl.maximum(m, tl.max(scores, 1))
        shift = tl.where(new == float("-inf"), 0.0, new)  # a row that has seen no key yet
        weights = tl.exp2(scores - shift[:, None])
        decay = tl.exp2(m - shift)
        z = z * decay + tl.sum(weights, 1)
        values = tl.load(
            v_cache + slot[:, None] * D + dim[None, :],
            mask=key_ok[:, None] & dim_ok[None, :],
            other=0.0,
        )
        acc = tl.dot(
            weights.to(values.dtype), values, acc * decay[:, None], input_precision="tf32x3"
        )
        m = new
    return m, z, acc


# fmt: off
@triton.jit
def _attend(
    q, k_cache, v_cache, table, query_offsets, lengths, out, partial, lse, parts, scale,
    S, T, table_stride, share, G: tl.constexpr, HK: tl.constexpr, D: tl.constexpr,
    PAGE: tl.constexpr, SPLIT: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # fmt: on
    tile, key_head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    sequence = _sequence_of(tile, query_offsets, S, G, BLOCK_M)
    begin = tl.load(query_offsets + sequence)
    queries = tl.load(query_offsets + sequence + 1) - begin
    length = tl.load(lengths + sequence)
    row = (tile - (begin * G // BLOCK_M + sequence)) * BLOCK_M + tl.arange(0, BLOCK_M)
    query, head = row // G, key_head * G + row % G
    row_ok = query < queries
    last_key = length - queries + query  # the last position that a row sees
    token_head = (begin + query).to(tl.int64) * (G * HK) + head

    dim = tl.arange(0, BLOCK_D)
    dim_ok = dim < D
    tile_mask = row_ok[:, None] & dim_ok[None, :]

    blocks, first = table + sequence.to(tl.int64) * table_stride, part * share
    end = tl.max(tl.where(row_ok, last_key, -1), 0) + 1
    if SPLIT:
        if part == 0:
            tl.store(parts + token_head, tl.cdiv(tl.maximum(last_key + 1, 0), share), mask=row_ok)
        if first >= end:
            return
        end = min(end, first + share)
    q_tile = tl.load(q + token_head[:, None] * D + dim[None, :], mask=tile_mask, other=0.0)
    # fmt: off
    m, z, acc = _attend_keys(
        q_tile, k_cache, v_cache, blocks, first, end, last_key, key_head, dim, dim_ok, scale,
        HK, D, PAGE, BLOCK_D, BLOCK_M, BLOCK_N,
    )
    # fmt: on

    acc = acc / tl.where(z > 0.0, z, 1.0)[:, None]
    if SPLIT:
        at = part.to(tl.int64) * T * (G * HK) + token_head
        tl.store(lse + at, m + tl.log2(z), mask=row_ok)
        tl.store(partial + at[:, None] * D + dim[None, :], acc, mask=tile_mask)
    else:
        out_at = out + token_head[:, None] * D + dim[None, :]
        tl.store(out_at, acc.to(out.dtype.element_ty), mask=tile_mask)


@triton.jit
def _merge(partial, lse, parts, out, rows, D: tl.constexpr, BLOCK_D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    dim = tl.arange(0, BLOCK_D)
    m = float("-inf")
    z = 0.0
    acc = tl.zeros([BLOCK_D], tl.float32)
    for part in range(tl.load(parts + row)):
        at = tl.cast(part, tl.int64) * rows + row
        share = tl.load(lse + at)
        new = tl.maximum(m, share)
        shift = tl.where(new == float("-inf"), 0.0, new)
        decay, weight = tl.exp2(m - shift), tl.exp2(share - shift)
        acc = acc * decay + weight * tl.load(partial + at * D + dim, mask=dim < D, other=0.0)
        z = z * decay + weight
        m = new
    tl.store(
        out + row * D + dim,
        (acc / tl.where(z > 0.0, z, 1.0)).to(out.dtype.element_ty),
        mask=dim < D,
    )


@triton.jit
def _store(k, v, k_cache, v_cache, slots, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + token)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < tl.where(slot >= 0, width, 0)
    tl.store(
        k_cache + slot * width + column, tl.load(k + token * width + column, mask=mask), mask=mask
    )
    tl.store(
        v_cache + slot * width + column, tl.load(v + token * width + column, mask=mask), mask=mask
    )


def store_kv_forward(
    k: torch.Tensor,
    v: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    slots: torch.Tensor,
) -> None:
    k, v = k.contiguous(), v.contiguous()
    tokens, width = k.shape[0], k.shape[1] * k.shape[2]
    if tokens:
        _store[(tokens, cdiv(width, 1024))](
            k, v, k_cache, v_cache, slots, width, BLOCK=1024, num_warps=4
        )


def paged_attention_forward(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    query_offsets: torch.Tensor,
    lengths: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """[T, H, D]; a query that sees no key gives zeros."""
    (T, H, D), (_, page, Hk, _), S = q.shape, k_cache.shape, lengths.numel()
    q = q.contiguous()
    block_table = block_table if block_table.stride(-1) == 1 else block_table.contiguous()
    out = torch.empty_like(q)
    if T == 0:
        return out
    group, decode = H // Hk, T == S
    config = tile(decode, group, D, q.dtype)
    capacity = block_table.shape[1] * page
    splits = max(cdiv(capacity, SHARE), 1) if decode else 1
    partial = lse = parts = None
    if splits > 1:
        parts = torch.empty(T, H, dtype=torch.int32, device=q.device)
        partial = torch.empty(splits, T, H, D, dtype=torch.float32, device=q.device)
        lse = torch.empty(splits, T, H, dtype=torch.float32, device=q.device)
    grid = (T * group // config["BLOCK_M"] + S, Hk, splits)
    block_d = power_of_2(D)
    _attend[grid](
        q,
        k_cache,
        v_cache,
        block_table,
        query_offsets,
        lengths,
        out,
        partial,
        lse,
        parts,
        scale,
        S,
        T,
        block_table.stride(0),
        SHARE,
        G=group,
        HK=Hk,
        D=D,
        PAGE=page,
        SPLIT=splits > 1,
        BLOCK_D=block_d,
        **config,
    )
    if splits > 1:
        _merge[(T * H,)](partial, lse, parts, out, T * H, D=D, BLOCK_D=block_d, num_warps=4)
    return out
