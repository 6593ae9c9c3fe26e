"""prepared.html: what was removed and why, the briefs beside their texts, and all counts."""

from __future__ import annotations

from pathlib import Path

from dftfast.prepare.findings import findings
from dftfast.prepare.tally import Tally
from dftfast.runtime.files import atomic_file, write_json

_AROUND = 1  # kept lines shown on either side of a removed one


def write_report(tally: Tally, out: Path) -> Path:
    """Write prepared.html and prepared.json beside the corpus; returns the page."""
    import jinja2

    first = findings(tally)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = out.with_name("prepared.html")
    html = environment.get_template("prepared.html.j2").render(
        name=out.name,
        tally=tally,
        findings=first,
        diffs=[diff | {"lines": _near(diff["lines"])} for diff in tally.diffs.values()],
        rows=tally.shown_rows.values(),
        lengths=[(share, tally.quantile(share)) for share in (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)],
        tables=_tables(tally),
    )
    with atomic_file(page) as partial:
        partial.write_text(html, encoding="utf-8")
    write_json(out.with_name("prepared.json"), tally.to_json() | {"findings": first})
    return page


def _tables(tally: Tally) -> list[tuple[str, list[tuple[str, int]]]]:
    counted = {
        "Not read": tally.skipped,
        "Lines removed, by rule": tally.lines,
        "Documents left out, by rule": tally.left_out,
        "Languages": tally.languages,
        "Scripts": tally.scripts,
        "Use cases": tally.use_cases,
        "Styles": tally.styles,
        "Briefs": tally.briefs,
        "Masked": tally.masked,
        "Model": tally.model,
    }
    return [(title, counts.most_common(40)) for title, counts in counted.items() if counts]


def _near(lines: list[dict]) -> list[dict]:
    """The removed lines with what stands around them; a gap is a line without text."""
    gone = [i for i, line in enumerate(lines) if line["rule"]]
    near = sorted({j for i in gone for j in range(i - _AROUND, i + _AROUND + 1)})
    near = [j for j in near if 0 <= j < len(lines)] or list(range(min(6, len(lines))))
    shown = []
    for before, j in zip([-1, *near], near):
        if j > before + 1:
            shown.append({"text": "…", "rule": None})
        shown.append(lines[j] | {"text": lines[j]["text"][:400]})
    return shown
