"""The human texts, with what every comparison with them reuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from dftfast.distribution.style import style_matrix
from dftfast.evaluation import brief_checks, embedding, text_stats
from dftfast.evaluation.character_view import CharacterView
from dftfast.evaluation.slop.copying import Corpus
from dftfast.evaluation.slop.overused import Overused, human_against_human, phrases_of
from dftfast.evaluation.slop.style_scale import StyleScale
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.writing_systems import corpus_scripts
from dftfast.runtime.errors import UserError


class Reference:
    """The human texts with their bandwidths and statistics of each text.

    Attributes:
        repetition: what the texts have in common with one another, kept by name and by how many of
            them count, [n].

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
        self.repetition: dict[tuple[str, int], np.ndarray] = {}

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
    def characters(self) -> CharacterView:
        return CharacterView(self.texts.texts)

    @cached_property
    def style(self) -> StyleScale:
        return StyleScale(style_matrix(self.texts.texts).numpy())

    @cached_property
    def scripts(self) -> set[str]:
        return corpus_scripts(self.texts.texts)

    @cached_property
    def per_text(self) -> dict[str, np.ndarray]:
        return text_stats.per_text(self.texts.texts, self.scripts)

    @cached_property
    def adherence(self) -> dict[str, np.ndarray]:
        assert self.texts.briefs is not None
        return brief_checks.per_text(self.texts.texts, self.texts.briefs)

    @cached_property
    def phrases(self) -> list[set[str]]:
        return [phrases_of(text) for text in self.texts.texts]

    @cached_property
    def phrase_noise(self) -> list[Overused]:
        """What chance alone overuses: one half of the texts beside the other."""
        return human_against_human(self.phrases)

    @cached_property
    def copied(self) -> dict[str, np.ndarray]:
        assert self.corpus is not None
        return self.corpus.per_text(self.texts.texts)
