"""Style features (distribution/style.py) on the scale of human texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from dftfast.distribution.style import style_matrix
from dftfast.evaluation import embedding


class StyleScale:
    """The features of human texts, and others in units of their spread.

    Args:
        raw: float32 [n, features], of the human texts.
    """

    def __init__(self, raw: np.ndarray):
        self.raw = raw
        self.mean, self.spread = self.raw.mean(0), np.maximum(self.raw.std(0), 1e-3)

    @cached_property
    def human(self) -> np.ndarray:
        return self._standardised(self.raw)

    @cached_property
    def bandwidth(self) -> float:
        return embedding.bandwidth(self.human)

    def standardised(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, features], clipped to five spreads."""
        return self._standardised(style_matrix(texts).numpy())

    def _standardised(self, raw: np.ndarray) -> np.ndarray:
        return np.clip((raw - self.mean) / self.spread, -5, 5)
