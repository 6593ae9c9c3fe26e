"""The length that a brief asks for."""

from __future__ import annotations

from collections.abc import Iterator

from dftfast.data.document import Document
from dftfast.runtime.words import words
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Rule

_FIVE = Document(id="", text="", prompt="", target_words=5)


class LengthAsked(Rule):
    name = "length-asked"
    about = "Is shorter or longer than the brief asks, by more than the share `within`."
    found = (
        Example("Two words.", _FIVE),
        Example("These are eight words, too many of them.", _FIVE),
    )
    passed = (Example("Here are five words, fine.", _FIVE), Example("No brief."))
    within: float = 0.5

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        if brief is None or not brief.target_words:
            return
        count, asked = len(words(passage.text)), brief.target_words
        if not asked / (1 + self.within) <= count <= asked * (1 + self.within):
            yield self.finding(0, 0, f"{count} words where the brief asks for {asked}")
