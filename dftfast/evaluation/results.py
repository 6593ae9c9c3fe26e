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
) -> Path:
    """Write folder/results.json and return its path.

    Schema: `format` (1); `about` (free: bandwidth, embedder, number of texts, ...); `systems`: name
    -> metric -> {value, low, high, p, human, human_low, human_high, reason}, null for what is
    undefined, and where each prompt has several answers `draws`, the value of each draw;
    `super_baseline`: metric -> {system, value} over all systems but the candidate and
    its baselines; `candidate`: its name or null; `verdicts`: metric -> {against, gain, low, high,
    verdict}; `judges`, `detectors`: each one alone (`judge.judge_record`,
    `detectors.detector_record`), where there are any.
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
    """A row for each metric, a column for each system, the best baseline and the human texts.

    With more than four systems only the super-baseline and the candidate have columns.
    """
    from rich.table import Table

    rest = super_baseline_systems(results, candidate)
    best = super_baseline(rest)
    against = dict(_verdicts(results, candidate))
    ours = results.get(candidate) if candidate is not None else None
    wide, of_draws = len(rest) <= 3, draws_text(results)
    table = Table(
        title="Outputs against human texts (95% intervals)",
        title_justify="left",
        caption_justify="left",
        caption="\n".join(line for line in (of_draws, TEST_CAPTION) if line),
    )
    table.add_column("")
    for name in rest if wide else ["best baseline"]:
        table.add_column(name, justify="right")
    if not wide:
        table.add_column("which", overflow="fold")
    if ours is not None:
        table.add_column(candidate or "", justify="right", style="bold")
        table.add_column("")
    if of_draws:
        table.add_column("±", justify="right")
    table.add_column("p", justify="right")
    table.add_column("human", justify="right")
    for metric in metrics or METRICS:
        have = [f[metric] for f in results.values() if metric in f and f[metric].value is not None]
        if not have:
            continue
        m = METRICS[metric]
        name, least = best.get(metric, ("", Estimate()))
        shown = [f.get(metric, Estimate()) for f in rest.values()] if wide else [least]
        row = [f"{m.title} {ARROWS[m.better]}", *(cell(metric, f) for f in shown)]
        if not wide:
            row.append(name)
        last = have[-1] if ours is None else ours.get(metric, Estimate())
        if ours is not None:
            row += [
                cell(metric, last),
                MARKS[against[metric][1].verdict] if metric in against else "",
            ]
        if of_draws:
            row.append("" if last.spread is None else m.format(last.spread))
        row.append("" if last.p is None else f"{last.p:.3f}")
        row.append("" if have[0].human is None else m.format(have[0].human))
        table.add_row(*row)
    return table


def cell(metric: str, estimate: Estimate) -> str:
    m = METRICS[metric]
    if estimate.low is None:
        return m.format(estimate.value)
    return f"{m.format(estimate.value)} ({m.format(estimate.low)} to {m.format(estimate.high)})"
