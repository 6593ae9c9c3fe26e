"""The human texts, with what every comparison with them reuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from dftfast.evaluation import brief_checks, embedding, overlap, quadratic, text_stats
from dftfast.evaluation.slop.copying import Corpus
from dftfast.evaluation.slop.duplicates import near_duplicates
from dftfast.evaluation.slop.style_scale import StyleScale
from dftfast.evaluation.textset import TextSet
from dftfast.runtime.errors import UserError

MOST_SPLITS = 400  # random halves for the floors


class Reference:
    """The human texts with their bandwidths, floors, and statistics of each text.

    Args:
        texts: human texts, at least 4, none empty.
        bandwidth: of the Gaussian kernel over embeddings; None is the median distance between the
            human texts.
        exclude: token ids left out of n-grams (special tokens).
        rounds: of the bootstrap and of the permutation tests.
        corpus: texts that the model was trained on, to find what outputs copy from them; None where
            unknown.

    Raises:
        UserError: nothing can be compared with the texts.
    """

    def __init__(
        self,
        texts: TextSet,
        *,
        bandwidth: float | None = None,
        exclude: Iterable[int] = (),
        rounds: int = 1000,
        seed: int = 0,
        corpus: Sequence[str] | None = None,
    ):
        if len(texts) < 4:
            raise UserError(
                f"{texts.name or 'reference'}: {len(texts)} texts; at least 4 are needed"
            )
        empty = [i for i, t in zip(texts.ids, texts.texts) if not t.strip()]
        if empty:
            raise UserError(
                f"{texts.name or 'texts'}: {len(empty)} empty texts, the first has id {empty[0]!r}"
            )
        if rounds < 20:
            raise UserError(f"rounds: {rounds}; an interval needs at least 20")
        self.texts, self.exclude, self.rounds, self.seed = texts, frozenset(exclude), rounds, seed
        self.corpus = Corpus(corpus) if corpus else None
        self._bandwidth = bandwidth
        self._floors: dict[str, np.ndarray] = {}

    @cached_property
    def bandwidth(self) -> float:
        if self._bandwidth:
            return self._bandwidth
        assert self.texts.embeddings is not None
        return embedding.bandwidth(self.texts.embeddings)

    @cached_property
    def unseen_bandwidth(self) -> float:
        assert self.texts.unseen_embeddings is not None
        return embedding.bandwidth(self.texts.unseen_embeddings)

    @cached_property
    def style(self) -> StyleScale:
        return StyleScale(self.texts.texts)

    @cached_property
    def scripts(self) -> set[str]:
        return text_stats.corpus_scripts(self.texts.texts)

    @cached_property
    def per_text(self) -> dict[str, np.ndarray]:
        return text_stats.per_text(self.texts.texts, self.scripts)

    @cached_property
    def adherence(self) -> dict[str, np.ndarray]:
        assert self.texts.briefs is not None
        return brief_checks.per_text(self.texts.texts, self.texts.briefs)

    @cached_property
    def self_bleu(self) -> np.ndarray:
        return overlap.self_bleu(self.texts.texts)

    @cached_property
    def near_duplicates(self) -> np.ndarray:
        return near_duplicates(self.texts.texts)

    @cached_property
    def copied(self) -> dict[str, np.ndarray]:
        assert self.corpus is not None
        return self.corpus.per_text(self.texts.texts)

    @cached_property
    def halves(self) -> np.ndarray:
        """Indicator of a random half of the texts, [splits, n]."""
        n = len(self.texts)
        return quadratic.random_subsets(
            np.random.default_rng([self.seed, 3]), min(self.rounds, MOST_SPLITS), n, n // 2
        )

    def mmd2_floor(self, name: str, gram: np.ndarray) -> np.ndarray:
        """MMD² between random halves, from the kernel matrix of the human texts.

        It is kept under `name`.
        """
        if name not in self._floors:
            # its spread falls as 1/n: halved, it is that of a comparison of n with n texts
            self._floors[name] = quadratic.split_mmd2(gram, self.halves) / 2
        return self._floors[name]

    def split_floor(self, name: str, distance: Callable) -> np.ndarray:
        """What a distance of two indices gives between samples of n human texts, a few times over.

        There are only n: it is measured between halves and between quarters and extrapolated as a
        power of the size, which is the way plug-in distances of equal distributions fall. Kept
        under `name`.
        """
        if name not in self._floors:
            first = [np.flatnonzero(h) for h in self.halves[:8]]
            second = [np.flatnonzero(1 - h) for h in self.halves[:8]]
            quarter = len(self.texts) // 4
            halves = np.array([distance(a, b) for a, b in zip(first, second)])
            quarters = np.array([distance(a[:quarter], b[:quarter]) for a, b in zip(first, second)])
            self._floors[name] = halves * halves.mean() / max(quarters.mean(), 1e-300)
        return self._floors[name]

    def c2st_floor(self, name: str, y: np.ndarray) -> np.ndarray:
        """Accuracy of the classifier between random halves of the human texts' embeddings y.

        It is kept under `name`.
        """
        if name not in self._floors:
            correct = [
                embedding.c2st_correct(y[h > 0], y[h == 0], False, self.seed)
                for h in self.halves[:4]
            ]
            self._floors[name] = np.array([each.mean() for each in correct])
        return self._floors[name]
