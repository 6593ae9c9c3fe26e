"""What a build shows of checks: lines, junit.xml, GitHub's annotations and step summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from dftfast.evaluation.thresholds import Check


def report_checks(checks: Sequence[Check], folder: str | Path | None) -> None:
    """Print the checks, write folder/junit.xml where there is a folder, and tell GitHub Actions."""
    failed = [check for check in checks if not check.passed]
    print(f"\n{len(checks) - len(failed)} of {len(checks)} checks passed")
    for check in failed:
        print(f"FAILED {check.system}: {check.name}: {check.message}")
    if folder is not None:
        path = Path(folder) / "junit.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_junit(checks) + "\n", encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(as_annotations(failed), end="")
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(as_markdown(checks))


def as_junit(checks: Sequence[Check]) -> str:
    """A test case for each check; its message holds figure, interval and threshold."""
    failures = sum(not check.passed for check in checks)
    suite = ElementTree.Element(
        "testsuite", name="dftfast evaluate", tests=str(len(checks)), failures=str(failures)
    )
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(check.system), name=_xml(check.name)
        )
        tag = "system-out" if check.passed else "failure"
        said = ElementTree.SubElement(case, tag)
        said.text = _xml(check.message)
        if not check.passed:
            said.set("message", _xml(check.message))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_annotations(failed: Sequence[Check]) -> str:
    """Workflow commands, a line for each check that failed."""
    lines = [
        f"::error title={_property(f'{check.system}: {check.name}')}::{_data(check.message)}\n"
        for check in failed
    ]
    return "".join(lines)


def as_markdown(checks: Sequence[Check]) -> str:
    """A table, those that failed first."""
    rows = [
        f"| {'pass' if c.passed else '**fail**'} | {_cell(c.system)} | {_cell(c.name)} "
        f"| {_cell(c.message)} |\n"
        for c in sorted(checks, key=lambda check: check.passed)
    ]
    return "\n| | texts | check | |\n|---|---|---|---|\n" + "".join(rows) + "\n"


def _cell(text: str) -> str:
    for character in "\\`*_<>|[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _xml(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(c for c in text if c in "\t\n\r" or c.isprintable())
