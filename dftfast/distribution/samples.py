"""Texts as the discrepancies see them: embedded, tokenised and plain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """n texts.

    Attributes:
        embeddings: fp32 [n, d]; tokens: int64 [Σ], closed by the end token each; offsets: int64 [n + 1].
    """

    embeddings: Tensor
    tokens: Tensor
    offsets: Tensor
    texts: list[str]

    @classmethod
    def of(cls, embeddings: Tensor, tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> Samples:
        flat = torch.tensor([token for sequence in tokens for token in sequence], dtype=torch.int64)
        offsets = torch.tensor([0, *map(len, tokens)], dtype=torch.int64).cumsum(0)
        return cls(embeddings.float(), flat, offsets, list(texts))

    def __len__(self) -> int:
        return len(self.texts)

    def tokens_of(self, i: int) -> list[int]:
        return self.tokens[self.offsets[i] : self.offsets[i + 1]].tolist()

    def select(self, index: Sequence[int]) -> Samples:
        tokens = [self.tokens_of(i) for i in index]
        return Samples.of(self.embeddings[list(index)], tokens, [self.texts[i] for i in index])
