"""Plain PyTorch twin of `sample_tokens`: the same random numbers, a full sort, any device."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_tokens(logits, temperature, top_k, top_p, min_p, seed, request_id, position):
    logprobs = torch.log_softmax(logits.double(), -1)
    greedy = temperature < torch.finfo(torch.float32).tiny
    scaled = logits.double() / torch.where(greedy, 1.0, temperature.double())[:, None]
    cut = torch.log_softmax(
        scaled.masked_fill(scaled < _floor(scaled, top_k, top_p, min_p)[:, None], -torch.inf), -1
    )
    cumulative = cut.exp().cumsum(1)
    draw = philox_uniform(seed, request_id, position).double()[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, draw, right=True).clamp(max=logits.shape[1] - 1)
    token = torch.where(greedy, logits.argmax(1), token[:, 0])
    chosen = (
        logprobs.gather(1, token[:, None])[:, 0],
        cut.gather(1, token[:, None])[:, 0].masked_fill(greedy, 0.0),
    )
    entropy = -torch.where(logprobs == -torch.inf, 0.0, logprobs.exp() * logprobs).sum(1)
    undefined = logprobs.isnan().any(1)
    figures = [figure.masked_fill(undefined, torch.nan).float() for figure in (*chosen, entropy)]
    return token.masked_fill(undefined, 0), *figures


def _floor(scaled, top_k, top_p, min_p):
    """Smallest kept logit of each row; equal logits are kept or dropped together."""
    ordered = scaled.sort(descending=True).values
    size = scaled.shape[1]
    by_count = ordered.gather(
        1, (torch.where(top_k > 0, top_k, size).clamp(max=size).long() - 1)[:, None]
    )
    # top-p is of what top-k left
    p = torch.softmax(ordered.masked_fill(ordered < by_count, -torch.inf), -1)
    within = (p.cumsum(1) - p < top_p[:, None]) | (top_p >= 1)[:, None]
    by_mass = ordered.gather(1, within.sum(1, keepdim=True).clamp(min=1) - 1)
    by_share = ordered[:, :1] + min_p.double().clamp(0, 1).log()[:, None]
    return torch.cat([by_count, by_mass, by_share], 1).amax(1)


def philox_uniform(seed: Tensor, request_id: Tensor, position: Tensor) -> Tensor:
    """First word of Philox4x32-10, as a float in (0, 1): key = seed, counter = (position, id).

    Salmon et al. 2011.
    """
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
