"""Ops in plain torch, any device, differentiable where they train; each is replaced as its fused kernel lands."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def store_kv(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> None:
    kept = slots >= 0
    k_cache.flatten(0, 1)[slots[kept]] = k[kept]
    v_cache.flatten(0, 1)[slots[kept]] = v[kept]


def paged_attention(q, k_cache, v_cache, block_table, query_offsets, lengths, scale: float) -> Tensor:
    out = torch.empty_like(q)
    counts = query_offsets[1:] - query_offsets[:-1]
    decode = (counts == 1).nonzero()[:, 0]
    if len(decode):
        rows = query_offsets[decode].long()
        longest = int(lengths[decode].max())
        table = block_table[decode, : -(-longest // k_cache.shape[1])].long().clamp(min=0)
        k, v = (cache[table].flatten(1, 2)[:, :longest].transpose(1, 2) for cache in (k_cache, v_cache))
        seen = (torch.arange(longest, device=q.device) < lengths[decode, None])[:, None, None]
        k, v = (x.masked_fill(~seen.transpose(2, 3), 0) for x in (k, v))  # unwritten slots may hold NaN
        query = q[rows][:, :, None]
        out[rows] = F.scaled_dot_product_attention(query, k, v, attn_mask=seen, scale=scale, enable_gqa=True)[:, :, 0]
    for s in (counts > 1).nonzero()[:, 0].tolist():
        start, end, length = int(query_offsets[s]), int(query_offsets[s + 1]), int(lengths[s])
        table = block_table[s, : -(-length // k_cache.shape[1])].long()
        k, v = (cache[table].flatten(0, 1)[:length].transpose(0, 1)[None] for cache in (k_cache, v_cache))
        positions = torch.arange(length, device=q.device)
        seen = positions[None] <= positions[length - (end - start) :, None]
        query = q[start:end].transpose(0, 1)[None]
        attended = F.scaled_dot_product_attention(query, k, v, attn_mask=seen, scale=scale, enable_gqa=True)
        out[start:end] = attended[0].transpose(0, 1)
    return out


def sample_tokens(logits, temperature, top_k, top_p, min_p, seed, request_id, position):
    logprobs = torch.log_softmax(logits.float(), -1)
    greedy = temperature == 0
    probs = torch.softmax(logits.double() / torch.where(greedy, 1.0, temperature)[:, None], -1)
    if greedy.any() or (top_p < 1).any() or top_k.any() or min_p.any():
        probs = _truncate(probs, greedy, top_k, top_p, min_p)
    cumulative = probs.cumsum(1)
    draw = philox_uniform(seed, request_id, position).double()[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, draw, right=True).clamp(max=logits.shape[1] - 1)
    entropy = -torch.where(logprobs.isinf(), 0.0, logprobs.exp() * logprobs).sum(1)
    chosen = (logprobs.gather(1, token)[:, 0], probs.gather(1, token)[:, 0].log().float())
    return token[:, 0], *chosen, entropy


def _truncate(probs, greedy, top_k, top_p, min_p):
    ordered, index = probs.sort(descending=True, stable=True)
    rank = torch.arange(probs.shape[1], device=probs.device)
    kept = (rank < torch.where(top_k == 0, probs.shape[1], top_k)[:, None]) & (~greedy[:, None] | (rank == 0))
    ordered = ordered * kept / (ordered * kept).sum(1, keepdim=True)  # top-p is of what top-k left
    kept &= (ordered.cumsum(1) - ordered < top_p[:, None]) & (ordered >= min_p[:, None] * ordered[:, :1])
    probs = probs * torch.zeros_like(kept).scatter(1, index, kept)
    return probs / probs.sum(1, keepdim=True)


def philox_uniform(seed: Tensor, request_id: Tensor, position: Tensor) -> Tensor:
    """Philox4x32-10 (Salmon et al. 2011): key = seed, counter = (position, request_id); first word -> (0, 1)."""
    mask = 0xFFFFFFFF
    k0, k1 = seed & mask, (seed >> 32) & mask
    c = [position & mask, (position >> 32) & mask, request_id & mask, (request_id >> 32) & mask]
    for _ in range(10):
        hi0, lo0 = _multiply(0xD2511F53, c[0])
        hi1, lo1 = _multiply(0xCD9E8D57, c[2])
        c = [hi1 ^ c[1] ^ k0, lo1, hi0 ^ c[3] ^ k1, lo0]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return ((c[0] >> 9).float() + 0.5) / (1 << 23)


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a product of two unsigned 32-bit numbers held in int64."""
    low, high = a * (b & 0xFFFF), a * (b >> 16)
    total = low + ((high & 0xFFFF) << 16)
    return (high >> 16) + (total >> 32), total & 0xFFFFFFFF
