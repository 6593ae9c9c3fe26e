"""Which of several drafts a writer is offered: those with the fewest findings of the checks.

Choosing a few texts by the distance of their population to the corpus picked outliers: of three
texts a distribution says nothing. What a check finds a writer can see and judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dftfast.runtime.words import words
from dftfast.studio.corpus_figures import CorpusFigures
from dftfast.studio.draft_check import check_draft
from dftfast.studio.page_requests import Brief
from dftfast.writing.rule import Rule

OFFERED = 3


@dataclass
class Draft:
    """A text as it is being written; `finish` says why it ended."""

    text: str = ""
    finish: str | None = None


def fewest_findings(
    drafts: Sequence[Draft],
    brief: Brief,
    rules: Sequence[Rule],
    corpus: CorpusFigures | None = None,
) -> list[dict]:
    """`sample`, `text`, `errors` and `warnings` of the best three, the best first.

    Errors decide, then warnings, then how near the length is to the one asked for, or to the
    median of the corpus. Drafts that the longest length cut off come after all that ended, empty
    ones last.
    """
    wanted = brief.words or (corpus.usual_words if corpus else None)
    places = []
    for sample, draft in enumerate(drafts):
        text = draft.text.strip()
        checked = check_draft(text, brief, rules)["findings"]
        found = Counter(each["severity"] for each in checked)
        length = abs(len(words(text)) - wanted) if wanted else 0
        order = (not text, draft.finish == "length", found["error"], found["warning"], length)
        row = {"text": text, "errors": found["error"], "warnings": found["warning"]}
        places.append((order, sample, row))
    return [row | {"sample": i} for i, (*_, row) in enumerate(sorted(places)[:OFFERED])]
