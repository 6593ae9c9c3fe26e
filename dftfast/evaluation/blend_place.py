"""Where texts lie among the ends of a blend: which mixture of the ends is nearest to them.

Kernel means of embeddings decide. The mixture Σ t_i e_i of ends e_i (Σ t_i = 1) with the least MMD²
from the texts x is a projection of means, and all it needs are MMD² of texts and ends: an inner
product of differences is half a sum of three, <x - o, e - o> = (D(x, o) + D(o, e) - D(x, e)) / 2.
Shares are not forced into 0 to 1: texts may lie beyond an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from dftfast.distribution.mmd import median_bandwidth
from dftfast.distribution.target_blend import Blend
from dftfast.distribution.targets import Target
from dftfast.evaluation.embedding import rbf
from dftfast.evaluation.estimate import Estimate, estimate, interval, resampling_weights
from dftfast.evaluation.quadratic import UStatistic

MOST = 800  # texts that stand for an end
ROUNDS = 400


@dataclass(frozen=True)
class BlendEnds:
    """What a blend was mixed from.

    Attributes:
        weights: of each end by its name, in sum 1.
        embeddings: of texts of each end, float32 [n, d], in the space of the outputs'.
        are_reference: whether they are the human texts that outputs are compared with, of which
            nothing is then learnt by asking where they lie.
    """

    weights: Mapping[str, float]
    embeddings: Mapping[str, np.ndarray]
    are_reference: bool = False

    @classmethod
    def of_targets(cls, blend: Blend, are_reference: bool = False) -> BlendEnds:
        """A private target cannot be blended, so all have points."""
        parts = list(zip(blend.files, blend.weights, blend.rows))
        names = [file.path.name for file, *_ in parts]
        named = [n if names.count(n) == 1 else str(f.path) for n, (f, *_) in zip(names, parts)]
        points = {
            name: file.target.embeddings.numpy()[rows]
            for name, (file, _, rows) in zip(named, parts)
            if isinstance(file.target, Target)
        }
        weights = {name: weight for name, (_, weight, _) in zip(named, parts)}
        return cls(weights, points, are_reference)

    @property
    def names(self) -> list[str]:
        return list(self.weights)


@dataclass(frozen=True)
class Place:
    """Where one set of texts lies.

    Attributes:
        shares: of each end in the nearest mixture, with intervals; empty where the ends cannot be
            told apart.
        distances: MMD² from each end.
        from_blend: MMD² from the ends mixed as asked.
    """

    shares: dict[str, Estimate]
    distances: dict[str, float]
    from_blend: float

    def to_json(self) -> dict:
        keys = ("value", "low", "high")
        shares = {end: {key: getattr(e, key) for key in keys} for end, e in self.shares.items()}
        return {"shares": shares, "mmd2": self.distances, "mmd2_from_blend": self.from_blend}


def places(
    ends: BlendEnds, sets: Mapping[str, np.ndarray], rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Place]:
    """The place of each set of embeddings [n, d]; all with the median distance as bandwidth.

    Intervals are of a bootstrap over texts of the set and of the ends.
    """
    points = [np.asarray(ends.embeddings[end])[:MOST] for end in ends.names]
    asked = np.array(list(ends.weights.values()))
    h = median_bandwidth(torch.from_numpy(np.concatenate(points)))
    drawn = [_draws(len(x), rounds, seed + k) for k, x in enumerate(points)]
    apart, pairs = True, np.zeros((len(points), len(points), 1 + rounds))
    for i, j in combinations(range(len(points)), 2):
        pairs[i, j] = pairs[j, i] = _mmd2(points[i], points[j], drawn[i], drawn[j], h)
        apart = apart and interval(pairs[i, j])[0] > 0
    found = {}
    for name, rows in sets.items():
        own = _draws(len(rows), rounds, seed + len(points))
        to = np.stack([_mmd2(np.asarray(rows), x, own, w, h) for x, w in zip(points, drawn)])
        shares = [estimate(s[0], s[1:]) for s in _shares(to, pairs)] if apart else []
        found[name] = Place(
            dict(zip(ends.names, shares)),
            {end: float(d[0]) for end, d in zip(ends.names, to)},
            float(asked @ to[:, 0] - asked @ pairs[..., 0] @ asked / 2),
        )
    return found


def _draws(n: int, rounds: int, seed: int) -> np.ndarray:
    """How often each text counts, [1 + rounds, n]: all once, then as each bootstrap draws them."""
    return np.concatenate([np.ones((1, n)), resampling_weights(n, rounds, seed)])


def _mmd2(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray, h: float) -> np.ndarray:
    """[1 + rounds]"""
    return UStatistic(rbf(x, x, h), rbf(y, y, h), rbf(x, y, h), paired=False).resample(w, v)


def _shares(to: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Shares [ends, rounds] of the nearest mixture, from MMD² of the texts [ends, rounds] and of
    the ends [ends, ends, rounds]."""
    first = pairs[0, 1:]
    gram = (first[:, None] + first[None] - pairs[1:, 1:]) / 2
    inner = (to[0] + first - to[1:]) / 2
    others = np.einsum("rij,jr->ir", np.linalg.pinv(np.moveaxis(gram, -1, 0)), inner)
    return np.concatenate([1 - others.sum(0, keepdims=True), others])
