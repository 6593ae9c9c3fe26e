"""Plain PyTorch twins of `dftfast.kernels.ngram`: the ground truth of its tests, any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ngram_keys(tokens: Tensor, offsets: Tensor, n: int, vocab: int) -> tuple[Tensor, Tensor]:
    """The key of the n-gram that ends at each token, and whether it lies inside one sequence."""
    sequence = torch.bucketize(
        torch.arange(len(tokens), device=tokens.device), offsets[1:], right=True
    )
    windows = tokens.unfold(0, n, 1) if len(tokens) >= n else tokens.new_empty(0, n)
    inside = sequence[n - 1 :] == sequence[: len(windows)]
    if vocab**n < 2**63:
        keys = _horner(windows, vocab)
    else:
        keys = torch.stack(
            [_horner(windows[:, : n // 2], vocab), _horner(windows[:, n // 2 :], vocab)], dim=1
        )
    return keys, inside


def _horner(windows: Tensor, vocab: int) -> Tensor:
    key = torch.zeros(len(windows), dtype=torch.int64, device=windows.device)
    for column in windows.unbind(1):
        key = key * vocab + column
    return key


def ngram_counts(
    tokens: Tensor, offsets: Tensor, n: int, vocab: int, exclude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    keys, keep = ngram_keys(tokens, offsets, n, vocab)
    if exclude is not None and len(keys):
        keep = keep & ~torch.isin(tokens, exclude).unfold(0, n, 1).any(1)
    return torch.unique(keys[keep], return_counts=True, dim=0)


def _aligned_frequencies(
    keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor
) -> tuple[Tensor, Tensor]:
    union, where = torch.unique(torch.cat([keys_p, keys_q]), return_inverse=True, dim=0)
    zeros = torch.zeros(len(union), dtype=torch.float64, device=keys_p.device)
    p = zeros.index_add(0, where[: len(keys_p)], counts_p.double())
    q = zeros.index_add(0, where[len(keys_p) :], counts_q.double())
    return p / p.sum(), q / q.sum()


def ngram_l2(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> float:
    p, q = _aligned_frequencies(keys_p, counts_p, keys_q, counts_q)
    return (p - q).norm().item()


def ngram_jsd(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> float:
    p, q = _aligned_frequencies(keys_p, counts_p, keys_q, counts_q)
    mean = (p + q) / 2
    return ((torch.xlogy(p, p / mean) + torch.xlogy(q, q / mean)).sum() / 2).item() / math.log(2)


def ngram_lookup(
    tokens: Tensor,
    offsets: Tensor,
    n: int,
    vocab: int,
    keys: Tensor,
    values: Tensor,
    default: float = 0.0,
) -> Tensor:
    out = torch.full((len(tokens),), default, dtype=torch.float32, device=tokens.device)
    own, inside = ngram_keys(tokens, offsets, n, vocab)
    if not len(own) or not len(keys):
        return out
    union, where = torch.unique(torch.cat([keys, own]), return_inverse=True, dim=0)
    value = torch.full((len(union),), default, dtype=torch.float32, device=tokens.device)
    value[where[: len(keys)]] = values
    out[n - 1 :] = torch.where(inside, value[where[len(keys) :]], out[n - 1 :])
    return out
