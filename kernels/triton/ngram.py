"""Exact n-gram counts on the card.

Sorting is the whole cost, and torch's radix sort (CUB) is what a kernel of our own would have to match, so this is plain
tensor code: keys, a mask, one sort-and-count, one binary search.
"""
from __future__ import annotations

import torch


def _keys(tokens: torch.Tensor, offsets: torch.Tensor, n: int, vocab: int, exclude: torch.Tensor | None):
    """(key of the n-gram ending at each position, whether there is one)."""
    total = tokens.numel()
    position = torch.arange(total, device=tokens.device)
    sequence = torch.searchsorted(offsets, position, right=True) - 1
    valid = position - offsets[sequence] >= n - 1
    banned = None if exclude is None else torch.isin(tokens, exclude)
    keys = torch.zeros_like(tokens)
    for back in range(n - 1, -1, -1):  # from the first token of the n-gram to its last
        earlier = (position - back).clamp_min(0)
        keys = keys * vocab + tokens[earlier]
        if banned is not None:
            valid &= ~banned[earlier]
    return keys, valid


def ngram_counts_forward(
    tokens: torch.Tensor, offsets: torch.Tensor, n: int, vocab: int, exclude: torch.Tensor | None
):
    """(keys ascending, counts), both int64."""
    if tokens.numel() == 0:
        return tokens.new_empty(0), tokens.new_empty(0)
    keys, valid = _keys(tokens, offsets, n, vocab, exclude)
    return torch.unique(keys[valid], sorted=True, return_counts=True)


def ngram_lookup_forward(
    tokens: torch.Tensor, offsets: torch.Tensor, n: int, vocab: int, keys: torch.Tensor, values: torch.Tensor,
    default: float,
) -> torch.Tensor:  # fmt: skip
    """values of the n-gram that ends at each token, [T] fp32; `keys` ascending."""
    out = torch.full((tokens.numel(),), default, dtype=torch.float32, device=tokens.device)
    if tokens.numel() == 0 or keys.numel() == 0:
        return out
    wanted, valid = _keys(tokens, offsets, n, vocab, None)
    at = torch.searchsorted(keys, wanted).clamp_max(keys.numel() - 1)
    return torch.where(valid & (keys[at] == wanted), values.float()[at], out)
