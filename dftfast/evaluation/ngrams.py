"""Token n-grams per document as sparse counts, their Gram matrix, and their distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy import sparse

from dftfast.model.device import pick_device


def ngram_keys(
    documents: Sequence[Sequence[int]], n: int, vocab: int, exclude: Iterable[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """(key, document) of every n-gram, int64 [total] each.

    The key is (t1·vocab + t2)·vocab + t3 ..., so it is exact. An n-gram that holds an excluded
    token is left out; nothing bridges over it.
    """
    lengths = np.array([len(d) for d in documents], dtype=np.int64)
    tokens = (
        np.concatenate([np.asarray(d, dtype=np.int64) for d in documents])
        if len(documents)
        else np.empty(0, np.int64)
    )
    if vocab**n >= 2**63:
        raise ValueError(f"{n}-grams over {vocab} tokens do not fit 63 bits")
    document = np.repeat(np.arange(len(documents)), lengths)
    size = max(len(tokens) - n + 1, 0)
    keys = np.zeros(size, dtype=np.int64)
    keep = document[:size] == document[n - 1 : n - 1 + size]
    excluded = np.fromiter(exclude, dtype=np.int64)
    bad = np.isin(tokens, excluded) if len(excluded) else None
    for i in range(n):
        keys = keys * vocab + tokens[i : i + size]
        if bad is not None:
            keep &= ~bad[i : i + size]
    return keys[keep], document[:size][keep]


def count_matrix(
    keys: np.ndarray, document: np.ndarray, documents: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Counts [documents, u] and the u distinct keys in ascending order."""
    distinct, column = np.unique(keys, return_inverse=True)
    counts = sparse.coo_matrix(
        (np.ones(len(keys), np.float64), (document, column)), shape=(documents, len(distinct))
    )
    return counts.tocsr(), distinct  # pyright: ignore[reportReturnType]


def gram(counts: sparse.csr_matrix, common: int = 64) -> np.ndarray:
    """counts · countsᵀ, float64 [documents, documents], exact.

    Columns in more than `common` documents go through a dense product (on the GPU where there is
    one), the rest through a sparse one: the cost of a sparse product grows with the square of a
    column's length. Columns of one document only add to the diagonal.
    """
    columns, device = counts.tocsc(), pick_device()
    frequency = np.diff(columns.indptr)
    documents = columns.shape[0]  # pyright: ignore[reportOptionalSubscript]
    largest = float(columns.sum(1).max()) if columns.nnz else 0.0
    # integers are exact below 2^24 (TF32: not)
    dtype = np.float32 if largest**2 < 2**24 and device.type == "cpu" else np.float64
    out = np.zeros((documents, documents))
    often = np.flatnonzero(frequency > common)
    for start in range(0, len(often), 4096):
        dense = columns[:, often[start : start + 4096]].toarray().astype(dtype)
        block = torch.from_numpy(dense).to(device)
        out += (block @ block.T).cpu().numpy()
    rare = columns[:, (frequency > 1) & (frequency <= common)].tocsr()
    pairs = rare @ rare.T
    rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    out[rows, pairs.indices] += pairs.data
    single = columns[:, frequency == 1]
    out[np.diag_indices_from(out)] += np.asarray(single.multiply(single).sum(1)).ravel()
    return out


def frequencies(counts: sparse.csr_matrix) -> np.ndarray:
    """Relative frequencies of the columns in all documents together, float64 [u]."""
    return np.asarray(counts.sum(0)).ravel() / counts.sum()


def jsd(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits, in [0, 1], of count vectors [..., u] (Lin 1991).

    It is taken along the last axis.
    """
    p = p / p.sum(-1, keepdims=True)
    q = q / q.sum(-1, keepdims=True)
    return np.maximum(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0)


def one_sided(counts: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The columns that several documents have, and of each document the counts of the others.

    [documents, u'] and float64 [documents]. What one document alone has is on one side of every
    split of the documents, where the divergence of a frequency f from 0 is f / 2: they need no
    column of their own.
    """
    columns = counts.tocsc()
    alone = np.diff(columns.indptr) == 1
    single = np.asarray(columns[:, alone].sum(1)).ravel()
    return columns[:, ~alone].tocsr(), single


def jsd_rounds(
    counts: sparse.csr_matrix, single: np.ndarray, w: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """JSD of the pooled counts with documents drawn w and v times in each round.

    Args:
        counts, single: of `one_sided`, of all documents.
        w, v: float64 [rounds, documents], what is on one side and what on the other.
    """
    out, transposed = np.empty(len(w)), counts.T.tocsr()
    for start in range(0, len(w), 64):
        part = slice(start, start + 64)
        sides = [
            np.c_[(transposed @ weights.T).T, weights @ single].astype(np.float32)
            for weights in (w[part], v[part])
        ]
        p, q = (side / side.sum(1, keepdims=True) for side in sides)
        alone = (p[:, -1] + q[:, -1]) / 2
        middle = (p[:, :-1] + q[:, :-1]) / 2
        out[part] = _entropy(middle) - (_entropy(p[:, :-1]) + _entropy(q[:, :-1])) / 2 + alone
    return np.maximum(out, 0)


def _entropy(f: np.ndarray) -> np.ndarray:
    return -(f * np.log2(f, where=f > 0, out=np.zeros_like(f))).sum(-1, dtype=np.float64)
