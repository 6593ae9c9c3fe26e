"""A text with its words and sentences and where each stands, worked out once."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import NamedTuple

import regex

from dftfast.runtime.words import SENTENCE_END, WORD


class Word(NamedTuple):
    """A word in lower case with straight apostrophes, at text[start:end]."""

    start: int
    end: int
    lower: str


class Piece(NamedTuple):
    """A sentence at text[start:end], without the space around it."""

    start: int
    end: int
    words: list[Word]


class Passage:
    """A text. Places are offsets in characters (code points), as Python's slices take them.

    Words and sentences are those of the figures of style and evaluation (`runtime.words`).
    """

    def __init__(self, text: str):
        self.text = text

    @cached_property
    def sentences(self) -> list[Piece]:
        """Those that hold a word."""
        ends = [m.span() for m in SENTENCE_END.finditer(self.text)]
        starts = [0, *(end for _, end in ends)]
        stops = [*(start for start, _ in ends), len(self.text)]
        found = []
        for start, end in zip(starts, stops):
            words = [_word(m) for m in WORD.finditer(self.text, start, end)]
            if words:
                piece = self.text[start:end]
                start += len(piece) - len(piece.lstrip())
                found.append(Piece(start, start + len(piece.strip()), words))
        return found

    @cached_property
    def words(self) -> list[Word]:
        return [word for sentence in self.sentences for word in sentence.words]

    @property
    def paragraph_lengths(self) -> list[int]:
        """Words of each line that holds one."""
        return [count for line in self.text.split("\n") if (count := len(WORD.findall(line)))]


def _word(match: regex.Match[str]) -> Word:
    return Word(*match.span(), sys.intern(match.group().lower().replace("’", "'")))
