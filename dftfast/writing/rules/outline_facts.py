"""Numbers and quotations of the outline that a text alters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dftfast.data.document import Document
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity, may_fail

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_DIGITS = re.compile(r"\d+")
_QUOTE = re.compile(r"[\"“«]([^\"“”«»]{8,}?)[\"”»]")
_BRIEF = Document(
    id="", text="", prompt="", outline=("sold 1,250 copies", "“It was never about the money”")
)


class OutlineFacts(Rule):
    name = "outline-facts"
    about = (
        "Lacks a number or a quotation of the outline; where a number or a quotation of the text "
        "is close to it, that is shown as altered."
    )
    found = (
        Example("It sold 1,520 copies. “It was never about the money”, she said.", _BRIEF),
        Example("It sold 1,250 copies. “It was all about the money”, she said.", _BRIEF),
    )
    passed = (
        Example("Be there at 8:15.", Document("", "", "", outline=("there at 8", "15 sharp"))),
        Example('It sold 1250 copies. "It was never about the money," she said.', _BRIEF),
        Example("No brief."),
    )
    severity: Severity = "error"
    numbers: bool = True
    quotes: bool = True

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        if brief is None or not brief.outline:
            return
        asked = "\n".join(brief.outline)
        if self.numbers:
            yield from self._altered_numbers(passage.text, asked)
        if self.quotes:
            yield from self._altered_quotes(passage.text, asked)

    def _altered_numbers(self, text: str, asked: str) -> Iterator[Finding]:
        there = [(m.span(), _value(m.group())) for m in _NUMBER.finditer(text)]
        wanted = dict.fromkeys(_value(m.group()) for m in _NUMBER.finditer(asked))
        values, runs = {value for _, value in there}, set(_DIGITS.findall(text))
        for value in wanted:
            if value in values or runs.issuperset(_DIGITS.findall(value)):
                continue  # an outline may have 8 and 00 of the time 8:00
            close = [span for span, other in there if other not in wanted and _close(value, other)]
            start, end = close[0] if close else (0, 0)
            shown = f", the text has {text[start:end]}" if close else ", which the text lacks"
            yield self.finding(start, end, f"the outline has the number {value}{shown}")

    def _altered_quotes(self, text: str, asked: str) -> Iterator[Finding]:
        from difflib import SequenceMatcher

        whole = _plain(text)
        for quote in (m.group(1) for m in _QUOTE.finditer(asked)):
            if _plain(quote) in whole:
                continue
            likeness = lambda m: SequenceMatcher(None, _plain(m.group(1)), _plain(quote)).ratio()
            best = max(_QUOTE.finditer(text), key=likeness, default=None)
            altered = best is not None and likeness(best) > 0.6
            start, end = best.span(1) if altered and best else (0, 0)
            message = f"the outline's quotation {quote!r} is {'altered' if altered else 'missing'}"
            yield self.finding(start, end, message, quote if altered else None)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        """Turn off the kind that human texts do not keep to either."""
        for kind in ("numbers", "quotes"):
            alone = self.model_copy(update={"numbers": False, "quotes": False, kind: True})
            if sum(map(alone.fails, held)) > may_fail(len(held), share / 2):
                setattr(self, kind, False)


def facts_of(point: str) -> list[str]:
    """The numbers and quotations of an outline's point that a text is to keep as they are."""
    return [*(m.group(1) for m in _QUOTE.finditer(point)), *_NUMBER.findall(point)]


def _value(number: str) -> str:
    """Without commas between thousands."""
    return re.sub(r",(?=\d{3}(?!\d))", "", number)


def _close(a: str, b: str) -> bool:
    """As many digits, and the same ones or all but one of them in place."""
    return len(a) == len(b) > 1 and (
        sorted(a) == sorted(b) or sum(x != y for x, y in zip(a, b)) == 1
    )


def _plain(text: str) -> str:
    """Words alone, in lower case, with straight apostrophes."""
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))
