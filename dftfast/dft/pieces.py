"""Long texts in pieces, so that what is credited is near what earned it.

A text of m parts that is credited as a whole has the noise of all its parts in the credit of each:
of the squared signal 1/m is left. So a text beyond about 100 tokens is also looked at in pieces:
piece j of a candidate beside the pieces j of the other candidates of its prompt, against pieces of
human texts. A piece is learnt as a completion of what comes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from torch import Tensor

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Human
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.packing import Example

PIECE = 100  # tokens, about


class Reader(Protocol):
    """What makes samples of tokens; a `PhaseContext` does."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def embed(self) -> Callable[[list[str]], Tensor]: ...


@dataclass(frozen=True)
class Pieces:
    """Texts cut up.

    Attributes:
        samples: the pieces, one text's after another's.
        text: int [n], the text of each piece.
        number: int [n], which of its text it is.
        start: int [n], tokens of its text before it.
    """

    samples: Samples
    text: np.ndarray
    number: np.ndarray
    start: np.ndarray

    @property
    def several(self) -> bool:
        """Whether any text has more than one."""
        return len(self.text) > len(np.unique(self.text))


def cut(reader: Reader, samples: Samples) -> Pieces:
    """Every text in equal parts of about `PIECE` tokens; what is shorter stays whole."""
    tokens, text, number, start = [], [], [], []
    for i in range(len(samples)):
        whole = samples.tokens_of(i)
        for j, (begin, end) in enumerate(pairwise(piece_bounds(len(whole)))):
            tokens.append(whole[begin:end])
            text.append(i)
            number.append(j)
            start.append(begin)
    if len(text) == len(samples):
        return Pieces(samples, np.array(text), np.array(number), np.array(start))
    written = [reader.tokenizer.decode(piece) for piece in tokens]
    cut_up = Samples.of(reader.embed(written), tokens, written)
    return Pieces(cut_up, np.array(text), np.array(number), np.array(start))


def pieces_of(reader: Reader, human: Human) -> Human:
    """Human texts cut up; a target has them so where any of its texts is long."""
    if isinstance(human, Samples):
        return cut(reader, human).samples
    return human.pieces or human


def piece_bounds(length: int) -> list[int]:
    """Where the pieces of a text of so many tokens begin, and where the last one ends."""
    count = max(1, round(length / PIECE))
    return [round(j * length / count) for j in range(count + 1)]


def groups(pieces: Pieces, prompt: Sequence[int]) -> np.ndarray:
    """int [n]: a number for each prompt and place in the text, dense from 0 on."""
    places = np.stack([np.asarray(prompt)[pieces.text], pieces.number])
    return np.unique(places, axis=1, return_inverse=True)[1].ravel()


def examples(pieces: Pieces, prompts: Sequence[Example], prompt: Sequence[int]) -> list[Example]:
    """Each piece as the completion of its prompt and of what comes before it in its text."""
    found = []
    before: list[int] = []
    for i, (text, start) in enumerate(zip(pieces.text.tolist(), pieces.start.tolist())):
        if start == 0:
            before = list(prompts[prompt[text]].prompt)
        own = pieces.samples.tokens_of(i)
        found.append(Example(before, own))
        before = before + own
    return found


def piece_rollouts(
    context: PhaseContext, prompts: Sequence[Example], rollouts: Rollouts, pieces: Pieces
) -> tuple[PhaseContext, list[Example], Rollouts]:
    """What a critic of the pieces looks at: each group of them has a prompt of its own.

    The human text of such a prompt is the piece at that place of its human text.
    """
    group = groups(pieces, rollouts.prompt)
    own = {}
    for p, example in enumerate(prompts):
        whole = len(example.completion)
        bounds = piece_bounds(whole)
        own |= {(p, j): example.completion[a:b] for j, (a, b) in enumerate(pairwise(bounds))}
    asked = [Example([], []) for _ in range(group.max() + 1)]
    for g, text, number in zip(group.tolist(), pieces.text.tolist(), pieces.number.tolist()):
        asked[g] = Example([], own.get((rollouts.prompt[text], number), []))
    parts = replace(rollouts, samples=pieces.samples, prompt=group.tolist())
    return replace(context, human=pieces_of(context, context.human)), asked, parts
