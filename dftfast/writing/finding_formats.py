"""Findings as text, JSON, SARIF, JUnit and GitHub annotations."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple
from xml.etree import ElementTree

from dftfast.runtime.version import __version__
from dftfast.writing.checked_texts import CheckedText
from dftfast.writing.rule import SEVERITIES, Finding
from dftfast.writing.rules import RULES

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}  # of SARIF
_ANNOTATIONS = {"error": "error", "warning": "warning", "info": "notice"}


class Placed(NamedTuple):
    """A finding and the text that it is in."""

    source: CheckedText
    finding: Finding

    @property
    def excerpt(self) -> str:
        return self.source.excerpt(self.finding.start, self.finding.end)


def as_text(found: Sequence[Placed], texts: int) -> str:
    """`path:line:column: severity rule: message`, and a line of counts."""
    lines = [f"{_where(p)}: {p.finding.severity} {p.finding.rule}: {_said(p)}" for p in found]
    counts = [sum(p.finding.severity == severity for p in found) for severity in SEVERITIES]
    named = ", ".join(f"{count} {severity}" for count, severity in zip(counts, SEVERITIES) if count)
    return "\n".join([*lines, f"{texts} texts: {named or 'nothing found'}"])


def as_json(found: Sequence[Placed], texts: int) -> str:
    rows = []
    for placed in found:
        line, column = placed.source.place(placed.finding.start)
        where = {"path": placed.source.path, "line": line, "column": column}
        rows.append({**where, **asdict(placed.finding), "excerpt": placed.excerpt})
    return json.dumps({"texts": texts, "findings": rows}, ensure_ascii=False, indent=1)


def as_sarif(found: Sequence[Placed], texts: int) -> str:
    """SARIF 2.1.0; columns are code points."""
    rules = [{"id": rule.name, "shortDescription": {"text": rule.about}} for rule in RULES]
    driver = {"name": "dftfast check", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(placed) for placed in found],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    content = {"$schema": schema, "version": "2.1.0", "runs": [run]}
    return json.dumps(content, ensure_ascii=False, indent=1)


def _sarif_result(placed: Placed) -> dict:
    (line, column), (end_line, end_column) = map(
        placed.source.place, (placed.finding.start, placed.finding.end)
    )
    region = {
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
    }
    uri = placed.source.path.replace("\\", "/")
    return {
        "ruleId": placed.finding.rule,
        "level": _LEVELS[placed.finding.severity],
        "message": {"text": placed.finding.message},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}},
        ],
    }


def as_junit(found: Sequence[Placed], texts: int) -> str:
    """A test case for each text with findings, failed by those of severity error."""
    cases: dict[tuple[str, int | None], list[Placed]] = defaultdict(list)
    for placed in found:
        cases[placed.source.path, placed.source.row].append(placed)
    failed = [key for key, all_of in cases.items() if any(map(_is_error, all_of))]
    suite = ElementTree.Element(
        "testsuite", name="dftfast check", tests=str(texts), failures=str(len(failed))
    )
    for (path, row), all_of in cases.items():
        name = path if row is None else f"{path}:{row}"
        case = ElementTree.SubElement(suite, "testcase", classname="dftfast.check", name=name)
        lines = "\n".join(as_text(all_of, 1).splitlines()[:-1])
        if (path, row) in failed:
            message = f"{sum(map(_is_error, all_of))} errors"
            ElementTree.SubElement(case, "failure", message=message).text = _xml(lines)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(lines)
    for number in range(texts - len(cases)):
        name = f"text without findings {number + 1}"
        ElementTree.SubElement(suite, "testcase", classname="dftfast.check", name=name)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_github(found: Sequence[Placed], texts: int) -> str:
    """Workflow commands, which GitHub shows beside the lines of a change."""
    lines = []
    for placed in found:
        line, column = placed.source.place(placed.finding.start)
        path = _escaped(placed.source.path).replace(":", "%3A").replace(",", "%2C")
        where = f"file={path},line={line},col={column},title={placed.finding.rule}"
        kind = _ANNOTATIONS[placed.finding.severity]
        lines.append(f"::{kind} {where}::{_escaped(_said(placed))}")
    return "\n".join(lines)


FORMATS: dict[str, Callable[[Sequence[Placed], int], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "junit": as_junit,
    "github": as_github,
}


def _where(placed: Placed) -> str:
    line, column = placed.source.place(placed.finding.start)
    return f"{placed.source.path}:{line}:{column}"


def _said(placed: Placed) -> str:
    """The message, and the place where that is short."""
    words = " ".join(placed.excerpt.split())
    shown = f" [{words if len(words) <= 60 else words[:57] + '...'}]" if words else ""
    return placed.finding.message + shown


def _is_error(placed: Placed) -> bool:
    return placed.finding.severity == "error"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _xml(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(c for c in text if c in "\t\n\r" or c.isprintable())
