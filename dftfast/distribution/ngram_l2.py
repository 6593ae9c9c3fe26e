"""Squared L2 distance of token n-gram frequencies, end token counted, with exact counts."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.distribution.samples import Samples
from dftfast.kernels import ngram_counts, ngram_l2, ngram_lookup


class NGramL2:
    """`Σ_n ‖f_q − f_p‖²` over n-gram frequencies of outputs (q) and human texts (p)."""

    def __init__(self, vocab: int, sizes: tuple[int, ...] = (1, 2, 3)):
        self.vocab, self.sizes = vocab, sizes

    def fit(self, human: Samples) -> None:
        self.human = {n: self._counts(human, n) for n in self.sizes}

    def value(self, samples: Samples) -> float:
        return sum(ngram_l2(*self._counts(samples, n), *self.human[n]) ** 2 for n in self.sizes)

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [Σ tokens]: `−2((f_q(g) − f_p(g)) − ⟨f_q − f_p, f_q⟩)` of every n-gram g.

        It stands at the token that ends the n-gram.
        """
        total = torch.zeros(len(samples.tokens))
        for n in self.sizes:
            keys, counts = self._counts(samples, n)
            f_q = counts.double() / counts.sum()
            gap = f_q - self.human_frequency(n, keys)
            reward = -2 * (gap - gap @ f_q)
            total += ngram_lookup(
                samples.tokens, samples.offsets, n, self.vocab, keys, reward.float()
            )
        return total

    def human_frequency(self, n: int, keys: Tensor) -> Tensor:
        """Frequency among human n-grams of each key, 0 where it does not occur."""
        known, counts = self.human[n]
        place = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
        return torch.where(known[place] == keys, counts[place].double() / counts.sum(), 0.0)

    def human_squared(self, n: int) -> float:
        """`‖f_p‖²` of human n-grams."""
        counts = self.human[n][1].double()
        return float((counts / counts.sum()).square().sum())

    def _counts(self, samples: Samples, n: int) -> tuple[Tensor, Tensor]:
        return ngram_counts(samples.tokens, samples.offsets, n, self.vocab)
