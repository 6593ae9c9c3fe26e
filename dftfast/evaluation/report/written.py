"""Write the report: one self-contained HTML page, and the same as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from dftfast.evaluation.report.names import short
from dftfast.evaluation.report.page import Page
from dftfast.evaluation.report.report_context import ReportContext
from dftfast.evaluation.results import cell
from dftfast.evaluation.super_baseline import Results
from dftfast.evaluation.textset import TextSet
from dftfast.runtime.files import atomic_file


def write_report(
    folder: str | Path,
    results: Results,
    generations: Mapping[str, TextSet],
    *,
    candidate: str | None = None,
    context: ReportContext | None = None,
    samples: int = 6,
    map_points: int = 500,
) -> Path:
    """Write folder/report.html, report.md and report.json; return the path of the page.

    Training curves are drawn where the folder has a log.jsonl, phases shown where it has a
    dft/phases.json.

    Args:
        results: system -> metric -> Estimate.
        generations: system -> its texts, and "human" -> the reference.
        candidate: the system that is compared with the super-baseline of all others.
        context: where the results come from, and what judges and detectors say.
        samples: prompts shown side by side.
        map_points: texts of each system on the embedding map.
    """
    folder, context = Path(folder), context or ReportContext()
    page = Page(results, generations, candidate if candidate in results else None, context)
    variables = page.variables(folder, samples, map_points) | {
        "about": dict(context.about),
        "cell": cell,
        "short": short,
        "cut": _md,
    }
    environment = _environment()
    for name in ("report.md", "report.html"):
        _write(folder / name, environment.get_template(f"{name}.j2").render(variables))
    _write(
        folder / "report.json",
        json.dumps(_record(variables), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
    )
    return folder / "report.html"


def _environment():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("dftfast.evaluation.report", "."),
        undefined=StrictUndefined,
        autoescape=lambda name: ".html" in (name or ""),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _md(text: object) -> str:
    """A piece of a model's text inside Markdown: nothing in it is markup."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\r": " ", "\n": " "}
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~" else entities.get(c, c) for c in str(text))


def _record(variables: Mapping) -> dict:
    """What the page says beyond results.json."""
    pairs = [
        {
            "first": row["first"],
            "second": row["second"],
            "comparisons": {m: asdict(c) for m, c in row["comparisons"].items()},
        }
        for row in variables["pairs"]
    ]
    verdict = [
        {
            "metric": row["metric"],
            "against": row["against"],
            "ours": row["ours"].to_json(),
            "theirs": row["theirs"].to_json(),
            **asdict(row["comparison"]),
        }
        for row in variables["verdict"]
    ]
    effect = variables["data_effect"]
    by_data = (
        [
            {
                "share": row["share"],
                "settings": row["settings"],
                "best": {m: f.value for m, f in row["best"].items() if f is not None},
            }
            for row in effect["rows"]
        ]
        if effect
        else []
    )
    return {
        "headline": variables["headline"],
        "candidate": variables["candidate"],
        "findings": {name: f.to_json() for name, f in variables["findings"].items()},
        "notes": variables["notes"],
        "verdict": verdict,
        "judges": list(variables["judge_records"]),
        "detectors": list(variables["detector_records"]),
        "pairs": pairs,
        "effect_of_data": by_data,
        "phases": variables["phases"],
        "blend": variables["blend"] and variables["blend"]["record"],
        "slop": {name: slop.to_json() for name, slop in variables["slop"].items()},
        "about": variables["about"],
    }
