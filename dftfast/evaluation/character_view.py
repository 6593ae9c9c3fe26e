"""Human texts as character n-grams: a lexical view that no model's training made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dftfast.evaluation import embedding
from dftfast.model.fixed_embedders import CharacterNgrams


class CharacterView:
    """Character n-grams (`model.fixed_embedders.CharacterNgrams`) of human texts.

    Attributes:
        human: float32 [n, 512]; bandwidth: the median distance between them.
    """

    def __init__(self, texts: Sequence[str]):
        self._ngrams = CharacterNgrams()
        self.human = self.of(texts)
        self.bandwidth = embedding.bandwidth(self.human)

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, 512]."""
        return self._ngrams.encode(texts).numpy()
