"""Documents end to end without padding, with what several begin with laid down once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn, one token or more.

    `weight` multiplies the loss of the completion's tokens, all alike or one by one.
    """

    prompt: list[int]
    completion: list[int]
    weight: float | Sequence[float] = 1.0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def weights(self) -> Sequence[float]:
        """One weight for each completion token."""
        return (
            [self.weight] * len(self.completion)
            if isinstance(self.weight, (int, float))
            else self.weight
        )


@dataclass(frozen=True)
class PackedBatch:
    """Documents end to end: T tokens, M of them predicted, U of them computed on.

    Attributes:
        tokens: int64 [T].
        positions: int64 [T].
        offsets: int64 [documents + 1].
        rows: int64 [M], the hidden states that predict a completion token.
        targets: int64 [M].
        weights: fp32 [M].
        distinct: int64 [U], the tokens to compute on, since documents share the hidden states of
            what they begin with alike.
        place: int64 [T], where in `distinct` each token has its own.
    """

    tokens: Tensor
    positions: Tensor
    offsets: Tensor
    rows: Tensor
    targets: Tensor
    weights: Tensor
    distinct: Tensor
    place: Tensor

    @property
    def documents(self) -> Tensor:
        """int64 [M]: the document of each completion token."""
        return torch.searchsorted(self.offsets, self.rows, right=True) - 1

    def to(self, device: torch.device | str) -> PackedBatch:
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return PackedBatch(**moved)


def pack(examples: Sequence[Example]) -> PackedBatch:
    """Lay examples end to end.

    The last token of each is only a target, so it is not run through the model.
    """
    tokens: list[int] = []
    positions: list[int] = []
    offsets = [0]
    rows: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    distinct: list[int] = []
    place: list[int] = []
    # the row in `distinct` of a token after another row: a tree of beginnings
    known: dict[tuple[int, int], int] = {}
    for example in examples:
        sequence = example.prompt + example.completion
        start, row = len(tokens), -1
        for i, token in enumerate(sequence[:-1], start):
            row = known.setdefault((row, token), len(distinct))
            if row == len(distinct):
                distinct.append(i)
            place.append(row)
        tokens += sequence[:-1]
        positions += range(len(sequence) - 1)
        offsets.append(len(tokens))
        rows += range(start + len(example.prompt) - 1, start + len(sequence) - 1)
        targets += example.completion
        weights += example.weights
    return PackedBatch(
        tokens=_integers(tokens),
        positions=_integers(positions),
        offsets=_integers(offsets),
        rows=_integers(rows),
        targets=_integers(targets),
        weights=torch.tensor(weights, dtype=torch.float32),
        distinct=_integers(distinct),
        place=_integers(place),
    )


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def by_budget(examples: Sequence[Example], tokens: int) -> list[list[Example]]:
    """Cut a list into consecutive groups of at most `tokens` tokens.

    A longer example makes its own group.
    """
    groups: list[list[Example]] = []
    room = 0
    for example in examples:
        if not groups or len(example) > room:
            groups.append([])
            room = tokens
        groups[-1].append(example)
        room -= len(example)
    return groups


def batches(
    examples: Sequence[Example], tokens: int, epochs: int, seed: int
) -> Iterator[list[Example]]:
    """The examples of every step, about `tokens` tokens each; every epoch has a new order."""
    for epoch in range(epochs):
        order = list(range(len(examples)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        yield from by_budget([examples[i] for i in order], tokens)
