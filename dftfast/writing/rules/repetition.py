"""Runs of words that a text has twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dftfast.data.document import Document
from dftfast.writing.passage import Passage, Word
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity, upper_limit

Place = tuple[int, int, int]  # first word of a run, of the one before it that is the same, words


class Repetition(Rule):
    name = "repetition"
    about = "Repeats a long run of its own words."
    found = (
        Example("We meet at noon by the old town hall on Monday. " * 2),
        Example("so very " * 12),
    )
    passed = (Example("We meet at noon by the old hall. We meet at ten by the new hall."),)
    severity: Severity = "error"
    most: int = 8

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        words = passage.words
        for start, _, length in _repeats(words, self.most + 1):
            first, last = words[start], words[start + length - 1]
            message = f"{length} words are a repetition (at most {self.most})"
            yield self.finding(first.start, last.end, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        levels = [_longest(human.passage.words) for human in held]
        self.most = max(int(upper_limit(levels, share)), 4)


def _repeats(words: Sequence[Word], least: int) -> Iterator[Place]:
    """Runs of at least `least` words that stand earlier in the text, too; none overlaps another."""
    lower = [word.lower for word in words]
    seen: dict[tuple[str, ...], int] = {}
    after = 0
    for i in range(len(lower) - least + 1):
        before = seen.setdefault(tuple(lower[i : i + least]), i)
        if before < i and i >= after:
            length = least
            while i + length < len(lower) and lower[i + length] == lower[before + length]:
                length += 1
            after = i + length
            yield i, before, length


def _longest(words: Sequence[Word]) -> int:
    """Words of the longest run that the text has twice; 0 below four."""
    longest = 0
    while found := [length for *_, length in _repeats(words, max(longest + 1, 4))]:
        longest = max(found)
    return longest
