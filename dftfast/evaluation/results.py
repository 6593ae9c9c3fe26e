"""Estimates as results.json and as a table in the terminal."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.evaluation.draws import draws_text
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.outcome import Finding
from dftfast.evaluation.super_baseline import (
    Comparison,
    Results,
    super_baseline,
    super_baseline_systems,
    verdicts,
)
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = 1
FEW = 3  # systems that have columns of their own in a terminal
FIRST = ("mmd", "mmd_unseen", "token_l2_1", "style_mmd", "c2st", "self_bleu", "length_mean")
ARROWS = {"lower": "↓", "higher": "↑", "human": "→ human"}
TEST_CAPTION = "p: permutation test that outputs and human texts are exchangeable"
MARKS = {"better": "[green]better[/]", "worse": "[red]worse[/]", "level": "level"}


def write_results(
    folder: str | Path,
    results: Results,
    candidate: str | None = None,
    about: Mapping[str, object] | None = None,
    judges: Sequence[dict] = (),
    detectors: Sequence[dict] = (),
    findings: Mapping[str, Finding] | None = None,
) -> Path:
    """Write folder/results.json and return its path.

    Schema: `format` (1); `about` (free: bandwidth, embedder, number of texts, ...); `systems`: name
    -> metric -> {value, low, high, p, human, human_low, human_high, reason}, null for what is
    undefined, and where each prompt has several answers `draws`, the value of each draw;
    `super_baseline`: metric -> {system, value} over all systems but the candidate and
    its baselines; `candidate`: its name or null; `verdicts`: metric -> {against, gain, low, high,
    verdict}; `judges`, `detectors`: each one alone (`judge.judge_record`,
    `detectors.detector_record`), where there are any; `findings`: name -> {told, p, sentence,
    classified, reasons, alike, adjusted (figure -> p), phrases}, where they are given.
    """
    rest = super_baseline_systems(results, candidate)
    record = {
        "format": FORMAT,
        "about": dict(about or {}),
        "systems": {
            name: {metric: f.to_json() for metric, f in estimates.items()}
            for name, estimates in results.items()
        },
        "super_baseline": {
            m: {"system": name, "value": f.value} for m, (name, f) in super_baseline(rest).items()
        },
        "candidate": candidate,
        "verdicts": {
            m: {"against": name, **asdict(c)} for m, (name, c) in _verdicts(results, candidate)
        },
    }
    record |= {
        name: list(part) for name, part in (("judges", judges), ("detectors", detectors)) if part
    }
    if findings:
        record["findings"] = {name: each.to_json() for name, each in findings.items()}
    path = Path(folder) / "results.json"
    with atomic_file(path) as temporary:
        temporary.write_text(
            json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
    return path


def read_results(path: str | Path) -> dict[str, dict[str, Estimate]]:
    """The systems of a results.json. Bootstrap rounds are not stored."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise UserError(f"{path}: format {record['format']}; this version reads {FORMAT}")
        return {
            name: {m: Estimate(**f) for m, f in estimates.items()}
            for name, estimates in record["systems"].items()
        }
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a results.json: {error}") from error


def _verdicts(results: Results, candidate: str | None) -> ItemsView[str, tuple[str, Comparison]]:
    """Those of a candidate that has results; none without one."""
    own = verdicts(results, candidate) if candidate is not None and candidate in results else {}
    return own.items()


def terminal_table(
    results: Results, candidate: str | None = None, metrics: Sequence[str] | None = None
) -> Table:
    """A row for each metric, and for each system (at most three) its figure and its p.

    With more systems there is a row for each, and the figures of the whole sets only.
    """
    from rich.table import Table

    shown = [
        m
        for m in metrics or METRICS
        if any(m in f and f[m].value is not None for f in results.values())
    ]
    few, of_draws = len(results) <= FEW, draws_text(results)
    table = Table(
        title="Outputs against human texts (95% intervals)",
        title_justify="left",
        caption_justify="left",
        caption="\n".join(line for line in (of_draws, TEST_CAPTION) if line),
    )
    if few:
        _by_metric(table, results, candidate, shown, bool(of_draws))
    else:
        _by_system(table, results, shown if metrics else [m for m in FIRST if m in shown])
    return table


def _by_metric(
    table: Table, results: Results, candidate: str | None, metrics: Sequence[str], draws: bool
) -> None:
    from rich.markup import escape

    against = dict(_verdicts(results, candidate))
    table.add_column("")
    for name in results:
        style = "bold" if name == candidate else None
        table.add_column(escape(name), justify="right", style=style, overflow="fold")
        if draws:
            table.add_column("±", justify="right")
        table.add_column("p", justify="right")
    if against:
        table.add_column("")
    table.add_column("human", justify="right")
    for metric in metrics:
        m, figures = METRICS[metric], [f.get(metric, Estimate()) for f in results.values()]
        row = [f"{m.title} {ARROWS[m.better]}"]
        for f in figures:
            row.append(cell(metric, f))
            row += ["" if f.spread is None else m.format(f.spread)] if draws else []
            row.append("" if f.p is None else f"{f.p:.3f}")
        row += [MARKS[against[metric][1].verdict] if metric in against else ""] if against else []
        human = next((f for f in reversed(figures) if f.human is not None), Estimate())
        table.add_row(*row, "" if human.human is None else _level(metric, human))


def _by_system(table: Table, results: Results, metrics: Sequence[str]) -> None:
    from rich.markup import escape

    table.add_column("", overflow="fold")
    for metric in metrics:
        table.add_column(
            f"{METRICS[metric].title} {ARROWS[METRICS[metric].better]}", justify="right"
        )
    for name, figures in results.items():
        known = [figures.get(metric, Estimate()) for metric in metrics]
        table.add_row(escape(name), *(METRICS[m].format(f.value) for m, f in zip(metrics, known)))


def _level(metric: str, f: Estimate) -> str:
    return cell(metric, Estimate(f.human, f.human_low, f.human_high))


def cell(metric: str, estimate: Estimate) -> str:
    m = METRICS[metric]
    if estimate.low is None:
        return m.format(estimate.value)
    return f"{m.format(estimate.value)} ({m.format(estimate.low)} to {m.format(estimate.high)})"
