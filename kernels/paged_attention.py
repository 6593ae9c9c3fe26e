"""Attention over a paged cache of keys and values, and the writes to it."""

from __future__ import annotations

from torch import Tensor

from .reference import paged_attention as reference


def store_kv(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> None:
    """Write keys and values [T, Hk, D] into the caches [blocks, block, Hk, D], in place.

    slots: int64[T], block · block_size + offset; -1 skips the token.
    """
    if k.is_cuda:
        from .triton.paged_attention import store_kv_forward

        store_kv_forward(k, v, k_cache, v_cache, slots)
    else:
        reference.store_kv(k, v, k_cache, v_cache, slots)


def paged_attention(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, query_offsets: Tensor, lengths: Tensor,
    scale: float,
) -> Tensor:  # fmt: skip
    """Causal attention of the newest tokens of S sequences over everything that their caches hold. Inference only.

    Args:
        q: [T, H, D]; sequence s owns rows query_offsets[s] : query_offsets[s + 1] (n_s of them; one in a decode).
        k_cache, v_cache: [blocks, block, Hk, D], the new tokens' keys and values already in; H a multiple of Hk.
        block_table: int32[S, longest], blocks of each sequence; query_offsets: int32[S + 1].
        lengths: int32[S], cached tokens. Query i of n_s sees positions up to lengths[s] - n_s + i.

    Returns:
        [T, H, D].
    """
    if q.is_cuda:
        from .triton.paged_attention import paged_attention_forward

        return paged_attention_forward(q, k_cache, v_cache, block_table, query_offsets, lengths, scale)
    return reference.paged_attention(q, k_cache, v_cache, block_table, query_offsets, lengths, scale)
