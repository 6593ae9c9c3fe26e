"""Denials that set up an assertion: "not X but Y" and its kin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dftfast.data.document import Document
from dftfast.evaluation.denials import not_but_spans
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, portions, upper_limit


class NotBut(Rule):
    name = "not-but"
    about = (
        "Denies one thing to assert another: “not just X but Y”, “it isn't X, it's Y”, "
        "“less about X than about Y”."
    )
    found = (
        Example("This is not just a book, but a way of life."),
        Example("It isn’t a setback. It’s a beginning."),
        Example("Success is less about talent than about patience."),
    )
    passed = (
        Example("I am not sure about the date, but I will ask."),
        Example("The report is not ready. Call me on Monday."),
        Example("Not just a book, but a way of life.", settings={"most": 1}),
    )
    most: int = 0

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        spans = not_but_spans(passage.text)
        if len(spans) > self.most * portions(passage):
            limit = f" (more than {self.most} in 200 words)" if self.most else ""
            for start, end in spans:
                yield self.finding(start, end, f"denies one thing to assert another{limit}")

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        levels = [len(not_but_spans(h.passage.text)) / portions(h.passage) for h in held]
        self.most = math.ceil(upper_limit(levels, share))
