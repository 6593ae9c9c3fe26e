"""Distances of token frequencies from a target, whose n-grams are counted in all texts together.

What needs the n-grams of each text is left out: permutations, and the chance of which human texts
there are in an interval.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dftfast.distribution.lexical import TOKENS
from dftfast.distribution.ngram_table import NGramTable
from dftfast.evaluation import ngrams, quadratic
from dftfast.evaluation.distances import NGRAM_ORDERS, chance
from dftfast.evaluation.estimate import Estimate, estimate, interval, undefined
from dftfast.evaluation.target_reference import TargetReference
from dftfast.evaluation.two_samples import TwoSamples


def token_distances(s: TwoSamples, reference: TargetReference) -> dict[str, Estimate]:
    """As `distances.token_distances`, but for p and the level of human texts."""
    out = {}
    for order in NGRAM_ORDERS:
        root, square = f"token_l2_{order}", f"token_sq_{order}"
        names = [root, square] + (["jsd"] if order == 1 else [])
        if s.paired and reference.incomplete:
            out |= {name: undefined(reference.incomplete) for name in names}
            continue
        counts = _counts(s, reference.ngrams[order], order)
        totals = np.asarray(counts.sum(1)).ravel()
        if not totals[:-1].sum() or not totals[-1]:
            out |= {name: undefined(f"no {order}-grams") for name in names}
            continue
        out |= dict(zip((root, square), _token_l2(s, counts, reference.chance[order - 1])))
        if order == 1:
            out["jsd"] = _jsd(s, counts)
    return out


def _counts(s: TwoSamples, table: NGramTable, order: int) -> sparse.csr_matrix:
    """[n + 1, u]: of each output, and in the last row of all human texts."""
    assert s.x.token_ids is not None
    special = s.reference.exclude
    keys, document = ngrams.ngram_keys(s.x.token_ids, order, TOKENS, special)
    counts, own = ngrams.count_matrix(keys, document, len(s.x))
    known = without(table.keys, order, special)
    human = table.counts.sum(0)[known]
    kinds = np.union1d(own, table.keys[known])
    outputs = counts.tocoo()
    column = np.searchsorted(kinds, own)[outputs.col]
    last = np.full(len(human), len(s.x))
    entries = (
        np.concatenate([outputs.data, human]),
        (
            np.concatenate([outputs.row, last]),
            np.concatenate([column, np.searchsorted(kinds, table.keys[known])]),
        ),
    )
    return sparse.csr_matrix(entries, (len(s.x) + 1, len(kinds)))


def without(keys: np.ndarray, order: int, special: frozenset[int]) -> np.ndarray:
    """Places of the n-grams that hold no special token."""
    kept, rest, tokens = np.ones(len(keys), dtype=bool), keys, np.array(sorted(special), np.int64)
    for _ in range(order):
        rest, token = np.divmod(rest, TOKENS)
        kept &= ~np.isin(token, tokens)
    return np.flatnonzero(kept)


def _sides(s: TwoSamples) -> tuple[np.ndarray, np.ndarray]:
    """Weights [rounds, n + 1] of the outputs and of the human texts in every round."""
    human = np.zeros((len(s.w), len(s.x) + 1))
    human[:, -1] = 1
    return np.pad(s.w, ((0, 0), (0, 1))), human


def _token_l2(
    s: TwoSamples, counts: sparse.csr_matrix, human_chance: float
) -> tuple[Estimate, Estimate]:
    n, gram, totals = len(s.x), ngrams.gram(counts), np.asarray(counts.sum(1)).ravel()
    x, y = _sides(s)
    z = x / (x @ totals)[:, None] - y / (y @ totals)[:, None]
    drawn = np.maximum(quadratic.forms(z, gram, z), 0)
    value = float(np.linalg.norm(ngrams.frequencies(counts[:n]) - ngrams.frequencies(counts[n:])))
    on_square = estimate(value**2, drawn)
    rounds = np.sqrt(np.maximum(on_square.rounds, 0)) if on_square.rounds is not None else None
    low, high = interval(rounds) if rounds is not None else (None, None)
    if s.paired:
        return Estimate(value, low, high, rounds=rounds), undefined("it needs the texts")
    own = chance(gram, totals, slice(0, n), slice(0, n))
    square = value**2 - own - human_chance
    return (
        Estimate(value, low, high, rounds=rounds),
        estimate(square, drawn - drawn.mean() + square),
    )


def _jsd(s: TwoSamples, counts: sparse.csr_matrix) -> Estimate:
    n = len(s.x)
    pooled = lambda part: np.asarray(part.sum(0)).ravel()
    value = float(ngrams.jsd(pooled(counts[:n]), pooled(counts[n:])))
    several, single = ngrams.one_sided(counts)
    return estimate(value, ngrams.jsd_rounds(several, single, *_sides(s)))
