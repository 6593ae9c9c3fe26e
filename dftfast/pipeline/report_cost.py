"""How long it takes to measure sets of answers: a stated cost, by their size and the rounds."""

from __future__ import annotations

# Seconds of a processor for a set whatever its size, for each pair of its texts, and for that in
# each round. Fitted to sets of 50 to 1,200 texts with 200 and 1,000 rounds on two cores of a
# server; sets are measured one after another, so that more cores help little.
SET, PAIR, ROUND = 3.0, 9e-6, 8e-9


def report_seconds(texts: int, sets: int, rounds: int) -> float:
    """For so many sets of so many texts beside the human ones; embedding them is not in it."""
    return sets * (SET + texts**2 * (PAIR + ROUND * rounds))
