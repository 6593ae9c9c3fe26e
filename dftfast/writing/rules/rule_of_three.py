"""Lists of three: "clear, concise, and compelling"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from dftfast.data.document import Document
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, portions, upper_limit

_ITEM = r"[a-z][\w'’-]*(?:\s[\w'’-]+){0,3}"  # no names: a list of people is no figure
_TRIAD = re.compile(rf"(?<![\w,])(?<!, ){_ITEM},\s{_ITEM},?\s(?:and|or|but)\s[a-z][\w'’-]*")


class RuleOfThree(Rule):
    name = "rule-of-three"
    about = "Has many lists of exactly three items: “clear, concise, and compelling”."
    found = (
        Example(
            "The talk was warm, witty, and wise. It had heart, humour, and hope. We left tired, "
            "happy, and hungry."
        ),
    )
    passed = (
        Example("The talk was warm, witty, and wise, and then we went home."),
        Example("Anna, Ben, and Carl came. Dora, Emil, and Fay did not. Gus, Hal, and Ida slept."),
    )
    most: int = 2

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        spans = [m.span() for m in _TRIAD.finditer(passage.text)]
        if len(spans) > self.most * portions(passage):
            for start, end in spans:
                message = f"a list of three, one of {len(spans)} (at most {self.most} in 200 words)"
                yield self.finding(start, end, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        count = lambda passage: len(_TRIAD.findall(passage.text)) / portions(passage)
        self.most = math.ceil(upper_limit([count(h.passage) for h in held], share))
