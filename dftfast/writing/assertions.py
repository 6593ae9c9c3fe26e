"""For tests of prompts: a text that must have no finding."""

from __future__ import annotations

from dftfast.data.document import Document
from dftfast.writing.checked_texts import CheckedText
from dftfast.writing.checking import Rules, check
from dftfast.writing.finding_formats import Placed, as_text
from dftfast.writing.rule import SEVERITIES, Severity


def assert_passes(
    text: str, rules: Rules = None, brief: Document | None = None, fail_on: Severity = "error"
) -> None:
    """Fail a test, with all findings, if one is of severity `fail_on` or graver.

    `text`, `rules` and `brief` are as in `check`. In pytest: `assert_passes(ask(prompt), RULES)`.

    Raises:
        AssertionError: there is such a finding.
        UserError: as of `check`.
    """
    found = check(text, rules, brief)
    if is_failure([f.severity for f in found], fail_on):
        source = CheckedText("text", text)
        raise AssertionError(as_text([Placed(source, finding) for finding in found], 1))


def is_failure(found: list[Severity], fail_on: str) -> bool:
    """Whether any of the severities is `fail_on` or graver; none is as grave as "never"."""
    return fail_on != "never" and any(
        SEVERITIES.index(severity) <= SEVERITIES.index(fail_on) for severity in found
    )
