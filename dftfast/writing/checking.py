"""Findings of rules in a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftfast.data.document import Document
from dftfast.writing.inline_ignores import ignored_rules, without_comments
from dftfast.writing.passage import Passage
from dftfast.writing.rule import SEVERITIES, Finding, Rule
from dftfast.writing.rules_file import default_rules, load_rules

Rules = Sequence[Rule] | str | Path | None


def check(text: str, rules: Rules = None, brief: Document | None = None) -> list[Finding]:
    """What the rules find in a text, in the order of the places.

    Args:
        text: comments `<!-- dftfast-ignore: RULE -->` in it hold, see `inline_ignores`.
        rules: rules, or the path of a rules file; None takes every rule as it is before it is
            fitted. Load a file once where many texts are checked.
        brief: what the text was to be, for the rules about length and outline.

    Raises:
        UserError: the rules file or an ignore comment is wrong.
    """
    if rules is None:
        rules = default_rules()
    elif isinstance(rules, (str, Path)):
        rules = load_rules(rules)
    ignored = ignored_rules(text)
    passage = Passage(without_comments(text))
    found = [
        finding
        for rule in rules
        if rule.severity != "off"
        for finding in rule.find(passage, brief)
        if not ignored(finding)
    ]
    return sorted(found, key=lambda f: (f.start, f.end, SEVERITIES.index(f.severity), f.rule))
