"""How many of several sets stand as given weights, and what two of them have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LITTLE = 0.2  # of tokens, words or lengths in common, below which a blend is warned of


def counts_by_weight(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """As many of each set as there can be; weights are positive, their sum is taken for 1."""
    whole = sum(weights)
    most = min(size * whole / weight for size, weight in zip(sizes, weights))
    return [min(size, round(most * weight / whole)) for size, weight in zip(sizes, weights)]


def common_lengths(a: Sequence[float], b: Sequence[float]) -> float:
    """The share of each that is between the 5th and 95th percentile of the other; the larger.

    Args:
        a, b: the quantiles of lengths in steps of 5%, 0 and 100% among them.
    """
    inside = lambda x, y: float(np.mean((np.asarray(x) >= y[1]) & (np.asarray(x) <= y[-2])))
    return max(inside(a, b), inside(b, a))
