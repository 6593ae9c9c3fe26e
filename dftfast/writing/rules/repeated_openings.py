"""Sentences in a row that begin alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from dftfast.data.document import Document
from dftfast.writing.passage import Passage, Piece
from dftfast.writing.rule import Example, Finding, Human, Rule, upper_limit


class RepeatedOpenings(Rule):
    name = "repeated-openings"
    about = "Has several sentences in a row that begin with the same word."
    found = (
        Example("He came. He saw. He left. He slept."),
        Example("The sun rose. The birds sang! The road was dry?", settings={"most": 2}),
    )
    passed = (
        Example("He came. He saw. He left."),
        Example("He came. She saw. He left. She slept."),
    )
    most: int = 3

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        for run in _runs(passage):
            if len(run) > self.most:
                word = run[0].words[0]
                shown = passage.text[word.start : word.end]
                message = (
                    f"{len(run)} sentences in a row begin with {shown!r} (at most {self.most})"
                )
                yield self.finding(run[0].start, run[-1].end, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        levels = [max(map(len, _runs(h.passage)), default=0) for h in held]
        self.most = max(int(upper_limit(levels, share)), 2)


def _runs(passage: Passage) -> list[list[Piece]]:
    first = lambda sentence: sentence.words[0].lower
    return [list(run) for _, run in groupby(passage.sentences, first)]
