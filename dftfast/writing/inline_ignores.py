"""Comments in a text that say which findings are wanted there.

`<!-- dftfast-ignore: not-but, rhythm -->` is for the line that it stands in, or for the next one
where it has a line to itself; `<!-- dftfast-ignore-file: rhythm -->` is for the whole text. Without
names they are for every rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dftfast.runtime.errors import UserError
from dftfast.writing.rule import Finding
from dftfast.writing.rules import NAMES

_COMMENT = re.compile(r"<!--\s*dftfast-ignore(-file)?\s*(?::\s*([^\n]*?))?\s*-->")


def ignored_rules(text: str) -> Callable[[Finding], bool]:
    """Whether a finding is ignored by a comment of the text.

    Raises:
        UserError: a comment names a rule that does not exist.
    """
    spans = [(*_reach(text, m), _names(text, m)) for m in _COMMENT.finditer(text)]
    return lambda finding: any(
        finding.start < end
        and start <= max(finding.end - 1, finding.start)
        and finding.rule in names
        for start, end, names in spans
    )


def without_comments(text: str) -> str:
    """The text with spaces for these comments, so that places stay."""
    return _COMMENT.sub(lambda m: " " * len(m.group()), text)


def _reach(text: str, comment: re.Match[str]) -> tuple[int, int]:
    if comment[1]:
        return 0, len(text) + 1
    start = text.rfind("\n", 0, comment.start()) + 1
    end = _line_end(text, comment.end())
    if text[start:end].strip() == comment.group():
        end = _line_end(text, min(end + 1, len(text)))
    return start, end + 1


def _line_end(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found


def _names(text: str, comment: re.Match[str]) -> set[str]:
    names = {name for name in re.split(r"[,\s]+", comment[2] or "") if name}
    if unknown := sorted(names - set(NAMES)):
        line = text.count("\n", 0, comment.start()) + 1
        there = ", ".join(NAMES)
        raise UserError(f"line {line}: {unknown[0]}: no such rule to ignore; there are {there}")
    return names or set(NAMES)
