"""Which tokens make up the token L2 distance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TokenShare:
    """A token, its frequency in outputs and in human texts, and its share of the distance.

    The distance is the squared L2 distance of the frequencies.
    """

    token: str
    outputs: float
    human: float
    share: float


def l2_shares(
    outputs: Sequence[Sequence[int]],
    human: Sequence[Sequence[int]],
    name: Callable[[int], str],
    exclude: Collection[int] = (),
    count: int = 20,
) -> list[TokenShare]:
    """The tokens with the largest part in ‖f_q − f_p‖², largest first.

    Empty for equal frequencies.
    """
    flat = [
        np.array([t for d in documents for t in d if t not in exclude], np.int64)
        for documents in (outputs, human)
    ]
    if not all(map(len, flat)):
        return []
    vocab = 1 + max(int(f.max()) for f in flat)
    q, p = (np.bincount(f, minlength=vocab) / len(f) for f in flat)
    squares = (q - p) ** 2
    top = np.argsort(-squares, kind="stable")[:count]
    return [
        TokenShare(name(int(t)), float(q[t]), float(p[t]), float(squares[t] / squares.sum()))
        for t in top
        if squares[t] > 0
    ]
