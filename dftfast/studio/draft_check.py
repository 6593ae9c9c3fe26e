"""What the page shows beside a draft: findings, the outline's points, the place in the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from dftfast.runtime.errors import UserError
from dftfast.runtime.words import words
from dftfast.studio.corpus_figures import CorpusFigures
from dftfast.studio.page_requests import Brief
from dftfast.studio.utf16 import Utf16
from dftfast.writing.checking import check
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Finding, Rule
from dftfast.writing.rules.outline_facts import facts_of
from dftfast.writing.rules.outline_points import OutlinePoints, covered_points


def check_draft(
    text: str, brief: Brief, rules: Sequence[Rule], corpus: CorpusFigures | None = None
) -> dict:
    """`findings` (places in units of UTF-16), `points`, `words` and `figures` of a draft."""
    document, passage = brief.document(), Passage(text)
    found: list[Finding] = []
    if text.strip():
        try:
            found = check(text, rules, document)
        except UserError as error:  # a comment in the text that names no rule
            found = [Finding("comment", "error", str(error), 0, 0)]
    places = Utf16(text)
    least = next((rule.least for rule in rules if isinstance(rule, OutlinePoints)), 0.5)
    covered = dict(covered_points(passage, document))
    return {
        "words": len(words(text)),
        "findings": [
            asdict(each) | {"start": places.units(each.start), "end": places.units(each.end)}
            for each in found
        ],
        "points": [
            {"text": point, "covered": covered.get(point, 1.0) >= least, "facts": facts_of(point)}
            for point in document.outline
        ],
        "figures": corpus.place(passage) if corpus else [],
    }
