"""The token steps of a rollout: how many sequences run in each, and how much is in their cache."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Steps(NamedTuple):
    """Of each token step: running sequences, and tokens in their cache; int64 [steps] each."""

    running: np.ndarray
    cached: np.ndarray


def token_steps(prompts: ArrayLike, lengths: ArrayLike, seats: int) -> Steps:
    """First come, first served, as the engine's scheduler does it.

    Args:
        prompts: tokens of each sequence's prompt.
        lengths: tokens that each samples, one or more.
        seats: sequences that run at once.
    """
    prompt, length = np.asarray(prompts, np.int64), np.asarray(lengths, np.int64)
    start = np.zeros(len(length), np.int64)
    free = [0] * seats
    for i, tokens in enumerate(length.tolist()):
        start[i] = free[0]
        heapq.heapreplace(free, free[0] + tokens)
    end = start + length
    count = int(end.max(initial=0))

    def over_steps(values: np.ndarray) -> np.ndarray:
        """Sum of the running sequences' values."""
        change = np.zeros(count + 1, np.int64)
        np.add.at(change, start, values)
        np.add.at(change, end, -values)
        return change.cumsum()[:count]

    running = over_steps(np.ones_like(length))
    return Steps(running, over_steps(prompt - start) + running * np.arange(count))
