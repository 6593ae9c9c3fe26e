"""Attention over a paged cache of keys and values, and the writes to it. Inference only."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype, contiguous_like
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def store_kv(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> None:
    """Write keys and values [T, Hk, D] into the caches [blocks, block, Hk, D], in place.

    All float32, bfloat16 or float16. slots: int64 [T], block * block_size + offset; -1 skips the
    token.
    Raises ValueError for shapes that do not fit, caches that are not contiguous and, on a CPU, a
    slot outside the cache; TypeError for other dtypes.
    """
    _store_kv(k, v, k_cache, v_cache, slots)


def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    query_offsets: Tensor,
    lengths: Tensor,
    scale: float,
) -> Tensor:
    """Causal attention of the newest tokens of S sequences over everything that their caches hold.

    q: [T, H, D]; sequence s owns rows query_offsets[s] : query_offsets[s + 1], n_s of them (one in
    a decode). k_cache, v_cache: [blocks, block, Hk, D], the new tokens' keys and values already in,
    H a multiple of Hk. All float32, bfloat16 or float16. block_table: int32 [S, longest], blocks of
    each sequence; query_offsets: int32 [S + 1], from 0 to T; lengths: int32 [S], cached tokens.
    Query i of n_s sees positions up to lengths[s] - n_s + i. Softmax of scale * q kᵀ and sums are
    float32. Returns [T, H, D]. Cache blocks as in vLLM (Kwon et al., "PagedAttention", SOSP 2023).

    Raises ValueError for shapes that do not fit, caches that are not contiguous and, on a CPU,
    lengths or blocks outside the cache; TypeError for other dtypes.
    """
    return _paged_attention(q, k_cache, v_cache, block_table, query_offsets, lengths, scale)


def _check_store(k, v, k_cache, v_cache, slots) -> None:
    check_dtype("store_kv", k, v, k_cache, v_cache)
    if (
        k.dim() != 3
        or v.shape != k.shape
        or slots.shape != k.shape[:1]
        or slots.dtype != torch.int64
    ):
        raise ValueError(
            "store_kv: k and v [T, Hk, D] and int64 slots [T] expected, "
            f"got {tuple(k.shape)}, {tuple(v.shape)} and {slots.dtype} {tuple(slots.shape)}"
        )
    _check_caches("store_kv", k_cache, v_cache, k.shape[1:])


def _check(q, k_cache, v_cache, block_table, query_offsets, lengths, scale) -> None:
    check_dtype("paged_attention", q, k_cache, v_cache)
    if q.dim() != 3 or k_cache.dim() != 4 or not k_cache.shape[2] or q.shape[1] % k_cache.shape[2]:
        raise ValueError(
            "paged_attention: q [T, H, D] and caches [blocks, block, Hk, D] with H a multiple of "
            f"Hk expected, got {tuple(q.shape)} and {tuple(k_cache.shape)}"
        )
    _check_caches("paged_attention", k_cache, v_cache, (k_cache.shape[2], q.shape[2]))
    indices = (block_table, query_offsets, lengths)
    S = len(lengths)
    if (
        lengths.dim() != 1
        or query_offsets.shape != (S + 1,)
        or block_table.dim() != 2
        or len(block_table) != S
    ):
        raise ValueError(
            "paged_attention: block_table [S, longest], query_offsets [S + 1] and lengths [S] "
            "expected, "
            f"got {', '.join(str(tuple(t.shape)) for t in indices)}"
        )
    if any(t.dtype != torch.int32 for t in indices):
        raise TypeError("paged_attention: block_table, query_offsets and lengths must be int32")


def _check_caches(op: str, k_cache: Tensor, v_cache: Tensor, heads: tuple[int, ...]) -> None:
    if k_cache.dim() != 4 or k_cache.shape != v_cache.shape or k_cache.shape[2:] != heads:
        raise ValueError(
            f"{op}: caches [blocks, block, {heads[0]}, {heads[1]}] expected, "
            f"got {tuple(k_cache.shape)} and {tuple(v_cache.shape)}"
        )
    if not (k_cache.is_contiguous() and v_cache.is_contiguous()):
        raise ValueError(f"{op}: the caches must be contiguous")


def _store_cpu(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> None:
    k, v, slots = k.contiguous(), v.contiguous(), slots.contiguous()
    (blocks, page, *_), token_bytes = k_cache.shape, k.shape[1] * k.shape[2] * k.element_size()
    addresses = (t.data_ptr() for t in (k, v, k_cache, v_cache, slots))
    cpu_kernels.store_kv(*addresses, len(k), token_bytes, blocks * page)


def _cpu(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    query_offsets: Tensor,
    lengths: Tensor,
    scale: float,
) -> Tensor:
    (tokens, heads, head_dim), (blocks, page, kv_heads, _) = q.shape, k_cache.shape
    tensors = [t.contiguous() for t in (q, k_cache, v_cache, block_table, query_offsets, lengths)]
    out = torch.empty_like(tensors[0])
    cpu_kernels.paged_attention(
        DTYPES[q.dtype],
        *(t.data_ptr() for t in (*tensors, out)),
        tokens,
        *block_table.shape,
        blocks,
        page,
        heads,
        kv_heads,
        head_dim,
        scale,
        torch.get_num_threads(),
    )
    return out


def _store_cuda(k, v, k_cache, v_cache, slots):
    from dftfast.kernels.triton.paged_attention import store_kv_forward

    store_kv_forward(k, v, k_cache, v_cache, slots)


def _cuda(q, k_cache, v_cache, block_table, query_offsets, lengths, scale):
    from dftfast.kernels.triton.paged_attention import paged_attention_forward

    return paged_attention_forward(q, k_cache, v_cache, block_table, query_offsets, lengths, scale)


def _fake(q, k_cache, v_cache, block_table, query_offsets, lengths, scale):
    return contiguous_like(q)


_store_kv = Operator(
    "store_kv",
    cpu=_store_cpu,
    cuda=_store_cuda,
    fake=lambda k, v, k_cache, v_cache, slots: None,
    check=_check_store,
    mutates=("k_cache", "v_cache"),
)
_paged_attention = Operator("paged_attention", cpu=_cpu, cuda=_cuda, fake=_fake, check=_check)
