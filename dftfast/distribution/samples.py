"""Texts as the discrepancies see them: embedded, tokenised and plain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dftfast.distribution.lexical import lexical_points
from dftfast.distribution.ngram_table import ORDERS, NGramTable
from dftfast.distribution.own_texts import Known, OwnTexts, find_own, text_keys
from dftfast.distribution.style import style_matrix


@dataclass(frozen=True)
class Samples:
    """n texts.

    Attributes:
        embeddings: fp32 [n, d], on any device.
        tokens: int64 [Σ], each text closed by its end token; offsets: int64 [n + 1]; both on the
            CPU.
        texts: n strings.
    """

    embeddings: Tensor
    tokens: Tensor
    offsets: Tensor
    texts: list[str]

    @classmethod
    def of(
        cls,
        embeddings: Tensor,
        tokens: Sequence[Sequence[int]],
        texts: Sequence[str],
    ) -> Samples:
        flat = torch.tensor([token for sequence in tokens for token in sequence], dtype=torch.int64)
        offsets = torch.tensor([0, *map(len, tokens)], dtype=torch.int64).cumsum(0)
        return cls(embeddings.float(), flat, offsets, list(texts))

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def lengths(self) -> Tensor:
        """int64 [n]: tokens of each text, the end token counted."""
        return self.offsets.diff()

    @property
    def lexical(self) -> Tensor:
        """fp32 [n, 512]: `lexical_points`, on the device of the embeddings."""
        return self._lexical

    @property
    def style(self) -> Tensor:
        """fp32 [n, f]: `style_features` of each text, on the device of the embeddings."""
        return self._style

    # a protocol's property takes none that is cached
    @cached_property
    def _lexical(self) -> Tensor:
        return lexical_points(self.tokens, self.offsets).to(self.embeddings.device)

    @cached_property
    def _style(self) -> Tensor:
        return style_matrix(self.texts).to(self.embeddings.device)

    @cached_property
    def ngrams(self) -> dict[int, NGramTable]:
        """By their order."""
        return {n: NGramTable.of(n, self.tokens, self.offsets) for n in ORDERS}

    def own(self, completions: Sequence[Sequence[int]]) -> OwnTexts:
        """Which of the texts these are, by their tokens."""
        return find_own(completions, Known.plain(text_keys(self.tokens, self.offsets)))

    def tokens_of(self, i: int) -> list[int]:
        return self.tokens[self.offsets[i] : self.offsets[i + 1]].tolist()

    def select(self, index: Sequence[int] | Tensor) -> Samples:
        """The texts at these places, in this order; a place may occur more than once."""
        index = torch.as_tensor(index, dtype=torch.int64)
        lengths = self.lengths[index]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        place = torch.arange(int(offsets[-1])) + (
            self.offsets[index] - offsets[:-1]
        ).repeat_interleave(lengths)
        return Samples(
            self.embeddings[index.to(self.embeddings.device)],
            self.tokens[place],
            offsets,
            texts=[self.texts[i] for i in index.tolist()],
        )

    @staticmethod
    def concat(parts: Sequence[Samples]) -> Samples:
        """The texts of all parts, one part after the other."""
        lengths = torch.cat([part.lengths for part in parts])
        return Samples(
            torch.cat([part.embeddings for part in parts]),
            torch.cat([part.tokens for part in parts]),
            torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            [text for part in parts for text in part.texts],
        )
