"""Targets: what discrepancies need of human texts, in place of the texts; and blends of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.ngram_table import ORDERS, NGramTable, first_half
from dftfast.distribution.own_texts import Known, OwnTexts, find_own, text_keys
from dftfast.distribution.private_target import PrivateTarget
from dftfast.distribution.samples import Samples
from dftfast.runtime.mixing import counts_by_weight


@dataclass(frozen=True)
class Target:
    """Human texts as points and n-grams.

    Attributes:
        embeddings, lexical, style: as of `Samples`, fp32 [m, d].
        ngrams: by their order.
        known: hashes of the texts, so that the one of a prompt can be left out.
    """

    embeddings: Tensor
    lexical: Tensor
    style: Tensor
    ngrams: dict[int, NGramTable]
    known: Known

    @classmethod
    def of(cls, samples: Samples) -> Target:
        return cls(
            samples.embeddings,
            samples.lexical,
            samples.style,
            samples.ngrams,
            Known.plain(text_keys(samples.tokens, samples.offsets)),
        )

    def __len__(self) -> int:
        """Points, which are fewer than texts in a blend."""
        return len(self.embeddings)

    def own(self, completions: Sequence[Sequence[int]]) -> OwnTexts:
        """Which of the texts these are, by their tokens."""
        return find_own(completions, self.known)

    def to(self, device: torch.device) -> Target:
        return replace(
            self,
            embeddings=self.embeddings.to(device),
            lexical=self.lexical.to(device),
            style=self.style.to(device),
        )


Human = Samples | Target | PrivateTarget  # what a policy is compared with


def blend(targets: Sequence[Target], weights: Sequence[float]) -> Target:
    """The mixture in which a text is of each target with its weight.

    Of points as many are taken as the shares allow, at random, so that the mixture needs no weights
    where kernels are; n-grams are those of all texts, scaled.

    Args:
        weights: positive; their sum is taken for 1.
    """
    chosen = blend_rows([len(target) for target in targets], weights)
    texts = [len(target.known.keys) for target in targets]
    scales = [w / sum(weights) * sum(texts) / size for w, size in zip(weights, texts)]
    rows, start = [], 0
    for target, places in zip(targets, chosen):
        row = np.full(len(target), -1)
        row[places] = start + np.arange(len(places))
        rows.append(row)
        start += len(places)
    take = lambda name: torch.cat(
        [getattr(each, name)[torch.from_numpy(places)] for each, places in zip(targets, chosen)]
    )
    return Target(
        take("embeddings"),
        take("lexical"),
        take("style"),
        {n: NGramTable.mixture([t.ngrams[n] for t in targets], scales) for n in ORDERS},
        Known(
            np.concatenate([target.known.keys for target in targets]),
            np.concatenate(rows),
            np.repeat(scales, texts),
            np.concatenate([first_half(size) for size in texts]),
        ),
    )


def blend_rows(sizes: Sequence[int], weights: Sequence[float]) -> list[np.ndarray]:
    """Of sets of so many texts the ones to take, ascending, so that they stand as the weights."""
    counts = counts_by_weight(sizes, weights)
    orders = [np.random.default_rng(1).permutation(size) for size in sizes]
    return [np.sort(order[:count]) for order, count in zip(orders, counts)]
