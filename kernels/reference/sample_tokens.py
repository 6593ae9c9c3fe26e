"""Plain PyTorch twin of `dftfast.kernels.sample_tokens`: the same stream of random numbers, a full sort, any device."""

from __future__ import annotations

import torch
from torch import Tensor


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
