"""Points of the outline that a text does not cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dftfast.data.document import Document
from dftfast.runtime.words import words
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, upper_limit

_BRIEF = Document(id="", text="", prompt="", outline=("moved to Hamburg in spring", "the old boat"))
_ERRORS = Document(id="", text="", prompt="", outline=("raises ValueError",))


class OutlinePoints(Rule):
    name = "outline-points"
    about = (
        "Leaves a point of the outline out: fewer than the share `least` of the point's words "
        "(of four letters or more, by their first five letters, or three fifths of long ones) are "
        "in the text."
    )
    found = (
        Example("She moved to Hamburg in the spring of that year.", _BRIEF),
        Example("Its values are added up.", _ERRORS),
    )
    passed = (
        Example("Moving to Hamburg in spring, she sold the boat.", _BRIEF),
        Example("A ValueError is raised.", _ERRORS),
        Example("No brief."),
    )
    least: float = 0.5

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        for point, covered in covered_points(passage, brief):
            if covered < self.least:
                message = (
                    f"the outline's point {point!r} is not covered ({covered:.0%} of its words)"
                )
                yield self.finding(0, 0, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        missing = [
            max((1 - covered for _, covered in covered_points(h.passage, h.brief)), default=0.0)
            for h in held
        ]
        self.least = min(self.least, round(1 - upper_limit(missing, share), 4))


def covered_points(passage: Passage, brief: Document | None) -> Iterator[tuple[str, float]]:
    """Each point of the outline that has such words, and the share of them in the text."""
    if brief is None or not brief.outline:
        return
    text = passage.text.lower()
    for point in brief.outline:
        if asked := _stems(point):
            yield point, sum(stem in text for stem in asked) / len(asked)


def _stems(text: str) -> set[str]:
    """First letters of the words of four or more: inflections mostly come later.

    Numbers are left to the rule about facts.
    """
    return {
        word.lower()[: max(5, 3 * len(word) // 5)]
        for word in words(text)
        if len(word) > 3 and word.isalpha()
    }
