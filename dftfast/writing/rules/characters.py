"""Characters that do not belong: invisible ones, dashes and quotes not wanted, unknown marks."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from dftfast.data.document import EM_DASH, Document
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity, may_fail

_INVISIBLE = {
    "\u00ad": "soft hyphen",
    "\u200b": "zero-width space",
    "\u2060": "word joiner",
    "\ufeff": "byte order mark",
    "\ufffd": "replacement character",
}
_STRAIGHT = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
_NO_DASH = Document(id="", text="", prompt="", em_dashes_allowed=False)


class Characters(Rule):
    name = "characters"
    about = (
        "Holds invisible characters, em dashes where the brief or `em_dashes: never` rules them "
        "out, curly quotes with `curly_quotes: false`, or, fitted, marks that the corpus has not."
    )
    found = (
        Example("A zero\u200bwidth space."),
        Example("Well \u2014 no.", brief=_NO_DASH),
        Example("Well \u2014 no.", settings={"em_dashes": "never"}),
        Example("\u201cNo\u201d", settings={"curly_quotes": False}),
        Example("Done \u2705", settings={"marks": ".,!"}),
    )
    passed = (
        Example("Well \u2014 \u201cno\u201d \u2705."),
        Example("Well \u2014 no.", _NO_DASH, {"em_dashes": "any"}),
        Example("Ça va, 日本語 2!", settings={"marks": ".,!"}),
    )
    severity: Severity = "error"
    em_dashes: Literal["brief", "never", "any"] = "brief"
    curly_quotes: bool = True
    marks: str | None = None

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        text = passage.text
        if text.isascii() and self.marks is None:
            return
        dashes = self.em_dashes == "any" or (
            self.em_dashes == "brief" and (brief is None or brief.em_dashes_allowed)
        )
        for i, c in enumerate(text):
            if c.isalnum() or c.isspace():
                continue
            if c in _INVISIBLE:
                yield self.finding(i, i + 1, f"{_INVISIBLE[c]} (U+{ord(c):04X})", "")
            elif c == EM_DASH and not dashes:
                yield self.finding(i, i + 1, "em dash, which is not allowed here")
            elif c in _STRAIGHT and not self.curly_quotes:
                yield self.finding(i, i + 1, "curly quote", _STRAIGHT[c])
            elif self.marks is not None and c not in self.marks and _is_mark(c):
                name = unicodedata.name(c, "no name").lower()
                yield self.finding(i, i + 1, f"{c} ({name}) is in no text of the corpus")

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        """Marks of the corpus, unless too many of `held` have others."""
        holds = Counter(c for h in texts for c in set(h.passage.text) if _is_mark(c))
        self.marks = "".join(sorted(holds))
        if sum(map(self.fails, held)) > may_fail(len(held), share):
            self.marks = None


def _is_mark(character: str) -> bool:
    """Neither letter, digit, space nor what joins to one before it, as accents and emoji parts."""
    return unicodedata.category(character)[0] in "PS"
