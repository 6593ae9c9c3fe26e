"""How long sentences and paragraphs are, as distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dftfast.runtime.words import paragraphs, sentences, words

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20


@dataclass(frozen=True)
class Lengths:
    """Words in all pieces of a kind ("sentence", "paragraph") of outputs and of human texts.

    There are quantiles (5, 25, 50, 75, 95%), and the share of pieces in equal bins from `edges[0]`
    to `edges[-1]` (the 99% quantile of both; longer ones in the last).
    """

    kind: str
    outputs: list[float]
    human: list[float]
    edges: list[float]
    outputs_shares: list[float]
    human_shares: list[float]


def length_distributions(outputs: Sequence[str], human: Sequence[str]) -> list[Lengths]:
    return [
        _compared(
            kind,
            *(
                np.array([len(words(piece)) for t in texts for piece in split(t)])
                for texts in (outputs, human)
            ),
        )
        for kind, split in (("sentence", sentences), ("paragraph", paragraphs))
    ]


def _compared(kind: str, x: np.ndarray, y: np.ndarray) -> Lengths:
    if not len(x) or not len(y):
        return Lengths(kind, [], [], [], [], [])
    end = max(float(np.quantile(np.r_[x, y], 0.99)), 1.0)
    edges = np.linspace(0, end, BINS + 1)
    shares = [(np.histogram(np.minimum(v, end), edges)[0] / len(v)).tolist() for v in (x, y)]
    return Lengths(
        kind,
        np.quantile(x, QUANTILES).tolist(),
        np.quantile(y, QUANTILES).tolist(),
        edges.tolist(),
        *shares,
    )
