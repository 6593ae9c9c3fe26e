"""What a rule is: it finds places in a text, and learns its limits from human texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from dftfast.data.document import Document
from dftfast.writing.passage import Passage

Severity = Literal["error", "warning", "info", "off"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")  # gravest first


@dataclass(frozen=True)
class Finding:
    """What a rule found at text[start:end]; start = end where something is missing.

    Attributes:
        rule: its name.
        severity: error, warning or info.
        message: one line that says what is found and what the limit is.
        start, end: offsets in characters (code points).
        replacement: what to put there instead, where a rule knows it.
    """

    rule: str
    severity: Severity
    message: str
    start: int
    end: int
    replacement: str | None = None


class Example(NamedTuple):
    """A text, and the brief and settings under which a rule finds something in it or does not."""

    text: str
    brief: Document | None = None
    settings: dict | None = None


class Human(NamedTuple):
    """A human text of the corpus that rules are fitted to, and its brief."""

    passage: Passage
    brief: Document


class Rule(BaseModel):
    """A rule; its fields are its settings, as a rules file has them.

    Class attributes:
        name: as files and comments call it.
        about: one sentence for the documentation.
        found, passed: examples in which it must find something and in which it must not.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)
    name: ClassVar[str]
    about: ClassVar[str]
    found: ClassVar[tuple[Example, ...]]
    passed: ClassVar[tuple[Example, ...]]
    severity: Severity = "warning"

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        raise NotImplementedError

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        """Learn from `texts` and set limits that no more than `may_fail` of `held` do not pass.

        A rule without a limit has nothing to learn.
        """

    def finding(self, start: int, end: int, message: str, instead: str | None = None) -> Finding:
        return Finding(self.name, self.severity, message, start, end, instead)

    def fails(self, human: Human) -> bool:
        return next(self.find(human.passage, human.brief), None) is not None


def may_fail(texts: int, share: float) -> int:
    """The most of so many texts that may fail, for a share of all texts below `share`.

    With a confidence of 95% (Clopper and Pearson 1934); none where there are too few to tell.
    """
    from scipy import stats

    return max(int(stats.binom.ppf(0.05, texts, share)) - 1, 0)


def upper_limit(levels: Sequence[float], share: float) -> float:
    """The least of the levels that no more than `may_fail` of them exceed."""
    return sorted(levels, reverse=True)[may_fail(len(levels), share)]


def portions(passage: Passage) -> int:
    """How many times 200 words a text has begun: limits on numbers are for each."""
    return max(math.ceil(len(passage.words) / 200), 1)
