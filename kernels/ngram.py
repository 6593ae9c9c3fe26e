"""Exact n-gram histograms over ragged token sequences: counting, distances between two, look-up."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def ngram_counts(
    tokens: Tensor, offsets: Tensor, n: int, vocab: int, exclude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Exact counts of all n-grams of ragged sequences, never across a boundary.

    tokens: [T] int64, all in [0, vocab). offsets: [B + 1] int64, sequence b is
    tokens[offsets[b]:offsets[b + 1]]. n: 1 to 4. exclude: int64 token ids or None; an n-gram that
    holds one of them is left out (nothing is bridged over it).

    Returns (keys int64 [u], ascending, counts int64 [u]). The key of (t1, ..., tn) is its value in
    base vocab: ((t1 * vocab + t2) * vocab + t3) ... . Where vocab ** n reaches 2 ** 63 (n = 4 above
    55,108 tokens) one integer cannot hold it and keys are int64 [u, 2]: the key of the first n // 2
    tokens and that of the rest, in lexicographic order. No hashing anywhere, so no collisions.

    Raises ValueError for a token outside the vocabulary (naming its position), bad offsets or n.
    """
    return _ngram_counts(tokens, offsets, n, vocab, exclude)


def ngram_l2(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> float:
    """Euclidean distance of two normalised histograms from `ngram_counts`, in float64.

    That is |c_p / Σc_p - c_q / Σc_q|₂.
    """
    return _ngram_distances(keys_p, counts_p, keys_q, counts_q)[0].item()


def ngram_jsd(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> float:
    """Jensen-Shannon divergence in bits, 0 to 1, of two normalised histograms (Lin, 1991, eq.

    4.1).
    """
    return _ngram_distances(keys_p, counts_p, keys_q, counts_q)[1].item()


def ngram_lookup(
    tokens: Tensor,
    offsets: Tensor,
    n: int,
    vocab: int,
    keys: Tensor,
    values: Tensor,
    default: float = 0.0,
) -> Tensor:
    """The value of the n-gram that ends at each token.

    tokens, offsets, n, vocab: as in `ngram_counts`. keys: ascending, as it returns them; values:
    [u] float32.
    Returns float32 [T]: values[j] where the n-gram that ends at the token has keys[j]; default
    where its sequence is still shorter than n or the n-gram is not among the keys.
    """
    return _ngram_lookup(tokens, offsets, n, vocab, keys, values, default)


def _check(tokens: Tensor, offsets: Tensor, n: int, vocab: int) -> None:
    if n not in (1, 2, 3, 4):
        raise ValueError(f"n-grams of n = 1 to 4 tokens are supported, not {n}")
    if not 0 < vocab < 2**31:
        raise ValueError(f"vocab must be between 1 and 2**31 - 1, not {vocab}")
    for name, tensor in (("tokens", tokens), ("offsets", offsets)):
        if tensor.dim() != 1 or tensor.dtype != torch.int64:
            raise ValueError(
                f"{name} must be a vector of int64, got {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}"
            )
    if len(offsets) < 1:
        raise ValueError("offsets must hold one more entry than there are sequences, got none")


def _check_counts(tokens, offsets, n, vocab, exclude) -> None:
    _check(tokens, offsets, n, vocab)
    if exclude is not None and (exclude.dim() != 1 or exclude.dtype != torch.int64):
        raise ValueError(
            f"exclude must be a vector of int64 token ids, got {exclude.dtype} of shape "
            f"{tuple(exclude.shape)}"
        )


def _check_lookup(tokens, offsets, n, vocab, keys, values, default) -> None:
    _check(tokens, offsets, n, vocab)
    _check_key_shape(keys, vocab**n >= 2**63)
    if values.shape != keys.shape[:1]:
        raise ValueError(
            f"ngram_lookup: {keys.shape[0]} keys but values of shape {tuple(values.shape)}"
        )


def _check_key_shape(keys: Tensor, wide: bool) -> None:
    if keys.dtype != torch.int64 or keys.dim() != 1 + wide or (wide and keys.shape[1] != 2):
        expected = "[u, 2]" if wide else "[u]"
        raise ValueError(
            f"n-gram keys must be int64 {expected} here, got {keys.dtype} of shape "
            f"{tuple(keys.shape)}"
        )


def _check_histograms(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> None:
    for keys, counts in ((keys_p, counts_p), (keys_q, counts_q)):
        _check_key_shape(keys, keys_p.dim() == 2)
        if counts.dtype != torch.int64 or counts.shape != keys.shape[:1]:
            raise ValueError(
                f"{keys.shape[0]} keys but counts {counts.dtype} of shape {tuple(counts.shape)}"
            )
        if not len(counts):
            raise ValueError(
                "an n-gram histogram is empty (every sequence is shorter than n): no frequencies"
            )


def _ragged(tokens: Tensor, offsets: Tensor) -> tuple[int, int, int, int]:
    return tokens.data_ptr(), len(tokens), offsets.data_ptr(), len(offsets) - 1


def _counts_cpu(
    tokens: Tensor, offsets: Tensor, n: int, vocab: int, exclude: Tensor | None
) -> tuple[Tensor, Tensor]:
    tokens, offsets = tokens.contiguous(), offsets.contiguous()
    exclude = tokens.new_empty(0) if exclude is None else exclude.contiguous()
    wide = vocab**n >= 2**63
    shape = (len(tokens), 2) if wide else (len(tokens),)
    keys, scratch = tokens.new_empty(shape), tokens.new_empty(shape)
    slices = cpu_kernels.ngram_counts(
        *_ragged(tokens, offsets),
        n,
        vocab,
        exclude.data_ptr(),
        exclude.numel(),
        keys.data_ptr(),
        scratch.data_ptr(),
        wide,
        torch.get_num_threads(),
    )
    counts = scratch[:, 0] if wide else scratch
    return torch.cat([keys[a:b] for a, b in slices]), torch.cat([counts[a:b] for a, b in slices])


def _counts_cuda(
    tokens: Tensor, offsets: Tensor, n: int, vocab: int, exclude: Tensor | None
) -> tuple[Tensor, Tensor]:
    from dftfast.kernels.triton.ngram import ngram_counts_forward

    return ngram_counts_forward(tokens, offsets, n, vocab, exclude)


def _counts_fake(
    tokens: Tensor, offsets: Tensor, n: int, vocab: int, exclude: Tensor | None
) -> tuple[Tensor, Tensor]:
    distinct = torch.library.get_ctx().new_dynamic_size()
    shape = (distinct, 2) if vocab**n >= 2**63 else (distinct,)
    return tokens.new_empty(shape), tokens.new_empty(distinct)


def _distances_cpu(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> Tensor:
    """float64 [2]: Euclidean distance, Jensen-Shannon divergence."""
    keys_p, counts_p, keys_q, counts_q = (
        t.contiguous() for t in (keys_p, counts_p, keys_q, counts_q)
    )
    out = keys_p.new_empty(2, dtype=torch.float64)
    cpu_kernels.ngram_distances(
        keys_p.data_ptr(),
        counts_p.data_ptr(),
        len(keys_p),
        keys_q.data_ptr(),
        counts_q.data_ptr(),
        len(keys_q),
        out.data_ptr(),
        keys_p.dim() == 2,
        torch.get_num_threads(),
    )
    return out


def _distances_cuda(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> Tensor:
    from dftfast.kernels.triton.ngram import ngram_distances_forward

    return ngram_distances_forward(keys_p, counts_p, keys_q, counts_q)


def _distances_fake(keys_p: Tensor, counts_p: Tensor, keys_q: Tensor, counts_q: Tensor) -> Tensor:
    return keys_p.new_empty(2, dtype=torch.float64)


def _lookup_cpu(
    tokens: Tensor,
    offsets: Tensor,
    n: int,
    vocab: int,
    keys: Tensor,
    values: Tensor,
    default: float,
) -> Tensor:
    tokens, offsets, keys, values = (
        t.contiguous() for t in (tokens, offsets, keys, values.float())
    )
    out = torch.full(tokens.shape, default, dtype=torch.float32)
    cpu_kernels.ngram_lookup(
        *_ragged(tokens, offsets),
        n,
        vocab,
        keys.data_ptr(),
        values.data_ptr(),
        len(keys),
        out.data_ptr(),
        keys.dim() == 2,
        torch.get_num_threads(),
    )
    return out


def _lookup_cuda(
    tokens: Tensor,
    offsets: Tensor,
    n: int,
    vocab: int,
    keys: Tensor,
    values: Tensor,
    default: float,
) -> Tensor:
    from dftfast.kernels.triton.ngram import ngram_lookup_forward

    return ngram_lookup_forward(tokens, offsets, n, vocab, keys, values, default)


def _lookup_fake(
    tokens: Tensor,
    offsets: Tensor,
    n: int,
    vocab: int,
    keys: Tensor,
    values: Tensor,
    default: float,
) -> Tensor:
    return tokens.new_empty(tokens.shape, dtype=torch.float32)


_ngram_counts = Operator(
    "ngram_counts", cpu=_counts_cpu, cuda=_counts_cuda, fake=_counts_fake, check=_check_counts
)
_ngram_distances = Operator(
    "ngram_distances",
    cpu=_distances_cpu,
    cuda=_distances_cuda,
    fake=_distances_fake,
    check=_check_histograms,
)
_ngram_lookup = Operator(
    "ngram_lookup", cpu=_lookup_cpu, cuda=_lookup_cuda, fake=_lookup_fake, check=_check_lookup
)
