"""Exact n-gram counts, distances and look-up on the card.

Sorting is the whole cost, and torch's radix sort (CUB) is what a kernel of our own would have to
match, so this is plain tensor code: keys, a mask, one sort-and-count, one binary search. Keys that
do not fit in 64 bits are pairs [u, 2].
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch


def _keys(
    tokens: torch.Tensor, offsets: torch.Tensor, n: int, vocab: int, exclude: torch.Tensor | None
):
    """(key of the n-gram that ends at each position, whether there is one)."""
    _check(tokens, offsets, vocab)
    position = torch.arange(tokens.numel(), device=tokens.device)
    sequence = torch.searchsorted(offsets, position, right=True) - 1
    valid = position - offsets[sequence] >= n - 1
    banned = None if exclude is None else torch.isin(tokens, exclude)
    wide = vocab**n >= 2**63
    parts = [torch.zeros_like(tokens) for _ in range(1 + wide)]
    for i in range(n):
        earlier = (position - (n - 1 - i)).clamp_min(0)
        part = int(wide and i >= n // 2)
        parts[part] = parts[part] * vocab + tokens[earlier]
        if banned is not None:
            valid &= ~banned[earlier]
    return torch.stack(parts, 1) if wide else parts[0], valid


def _check(tokens, offsets, vocab):
    """The sort waits for the card anyway, so bad input can be refused here too."""
    bad = (tokens < 0) | (tokens >= vocab)
    if bad.any():
        at = int(bad.nonzero()[0, 0])
        raise ValueError(f"tokens[{at}] is {int(tokens[at])}, outside the vocabulary of {vocab}")
    if offsets[0] != 0 or offsets[-1] != tokens.numel() or (offsets.diff() < 0).any():
        raise ValueError(f"offsets must ascend from 0 to the number of tokens, {tokens.numel()}")


def _unique(keys: torch.Tensor, **wanted):
    # Over a vector, unique without `dim` is a radix sort; with it, a comparison sort of rows.
    return (
        torch.unique(keys, sorted=True, dim=0, **wanted)
        if keys.dim() == 2
        else torch.unique(keys, sorted=True, **wanted)
    )


def ngram_counts_forward(
    tokens: torch.Tensor, offsets: torch.Tensor, n: int, vocab: int, exclude: torch.Tensor | None
):
    """(keys ascending, counts), both int64."""
    keys, valid = _keys(tokens, offsets, n, vocab, exclude)
    return _unique(keys[valid], return_counts=True)


def ngram_distances_forward(
    keys_p: torch.Tensor, counts_p: torch.Tensor, keys_q: torch.Tensor, counts_q: torch.Tensor
) -> torch.Tensor:
    """fp64 [2]: Euclidean distance and Jensen-Shannon divergence (base 2) of the frequencies."""
    union, where = _unique(torch.cat([keys_p, keys_q]), return_inverse=True)
    p, q = torch.zeros(2, len(union), dtype=torch.float64, device=keys_p.device)
    p[where[: len(keys_p)]] = counts_p / counts_p.sum().double()
    q[where[len(keys_p) :]] = counts_q / counts_q.sum().double()
    middle = (p + q) / 2
    divergence = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).sum() / 2
    return torch.stack([(p - q).norm(), divergence / torch.log(torch.full_like(divergence, 2.0))])


def ngram_lookup_forward(
    tokens: torch.Tensor,
    offsets: torch.Tensor,
    n: int,
    vocab: int,
    keys: torch.Tensor,
    values: torch.Tensor,
    default: float,
) -> torch.Tensor:
    """values of the n-gram that ends at each token, [T] fp32; `keys` ascending."""
    out = torch.full((tokens.numel(),), default, dtype=torch.float32, device=tokens.device)
    wanted, valid = _keys(tokens, offsets, n, vocab, None)
    if not len(wanted) or not len(keys):
        return out
    if keys.dim() == 2:  # replace pairs by their ranks
        _, rank = _unique(torch.cat([keys, wanted]), return_inverse=True)
        keys, wanted = rank[: len(keys)], rank[len(keys) :]
    at = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
    return torch.where(valid & (keys[at] == wanted), values.float()[at], out)
