"""Plain PyTorch twins of `paged_attention` and `store_kv`: any device and dtype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def store_kv(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> None:
    kept = slots >= 0
    k_cache.flatten(0, 1)[slots[kept]] = k[kept]
    v_cache.flatten(0, 1)[slots[kept]] = v[kept]


def paged_attention(
    q, k_cache, v_cache, block_table, query_offsets, lengths, scale: float
) -> Tensor:
    out = torch.empty_like(q)
    counts = query_offsets[1:] - query_offsets[:-1]
    decode = (counts == 1).nonzero()[:, 0]
    if len(decode):
        rows = query_offsets[decode].long()
        longest = int(lengths[decode].max())
        table = block_table[decode, : -(-longest // k_cache.shape[1])].long().clamp(min=0)
        k, v = (
            cache[table].flatten(1, 2)[:, :longest].transpose(1, 2) for cache in (k_cache, v_cache)
        )
        seen = (torch.arange(longest, device=q.device) < lengths[decode, None])[:, None, None]
        # unwritten slots may hold NaN
        k, v = (x.masked_fill(~seen.transpose(2, 3), 0) for x in (k, v))
        query = q[rows][:, :, None]
        out[rows] = F.scaled_dot_product_attention(
            query, k, v, attn_mask=seen, scale=scale, enable_gqa=True
        )[:, :, 0]
    for s in (counts > 1).nonzero()[:, 0].tolist():
        start, end, length = int(query_offsets[s]), int(query_offsets[s + 1]), int(lengths[s])
        table = block_table[s, : -(-length // k_cache.shape[1])].long()
        k, v = (
            cache[table].flatten(0, 1)[:length].transpose(0, 1)[None]
            for cache in (k_cache, v_cache)
        )
        positions = torch.arange(length, device=q.device)
        seen = positions[None] <= positions[length - (end - start) :, None]
        query = q[start:end].transpose(0, 1)[None]
        attended = F.scaled_dot_product_attention(
            query, k, v, attn_mask=seen, scale=scale, enable_gqa=True
        )
        out[start:end] = attended[0].transpose(0, 1)
    return out
