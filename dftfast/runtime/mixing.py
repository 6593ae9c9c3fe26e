"""How many of several sets stand as given weights."""

from __future__ import annotations

from collections.abc import Sequence


def counts_by_weight(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """As many of each set as there can be; weights are positive, their sum is taken for 1."""
    whole = sum(weights)
    most = min(size * whole / weight for size, weight in zip(sizes, weights))
    return [min(size, round(most * weight / whole)) for size, weight in zip(sizes, weights)]
