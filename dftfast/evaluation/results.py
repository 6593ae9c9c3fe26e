"""Figures as results.json and as a table in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.super_baseline import Results, baselines, super_baseline, verdicts
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file

FORMAT = 1


def write_results(
    folder: str | Path,
    results: Results,
    candidate: str | None = None,
    about: Mapping[str, object] | None = None,
    judges: Sequence[dict] = (),
    detectors: Sequence[dict] = (),
) -> Path:
    """Write folder/results.json and return its path.

    Schema: `format` (1); `about` (free: bandwidth, embedder, number of texts, ...); `systems`: name -> metric -> {value, low,
    high, p, human, human_low, human_high, reason}, null for what is undefined; `super_baseline`: metric -> {system, value}
    over all systems but the candidate and its baselines; `candidate`: its name or null; `verdicts`: metric -> {against, gain, low, high, verdict};
    `judges`, `detectors`: each one alone (`judge.judge_record`, `detectors.detector_record`), where there are any.
    """
    rest = baselines(results, candidate)
    record = {
        "format": FORMAT,
        "about": dict(about or {}),
        "systems": {
            name: {metric: f.to_json() for metric, f in figures.items()}
            for name, figures in results.items()
        },
        "super_baseline": {
            m: {"system": name, "value": f.value} for m, (name, f) in super_baseline(rest).items()
        },
        "candidate": candidate,
        "verdicts": {
            m: {"against": name, **asdict(c)}
            for m, (name, c) in verdicts(results, candidate).items()
        }
        if candidate in results
        else {},
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
            name: {m: Estimate(**f) for m, f in figures.items()}
            for name, figures in record["systems"].items()
        }
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a results.json: {error}") from error


def terminal_table(
    results: Results, candidate: str | None = None, metrics: list[str] | None = None
):
    """A rich Table: a row for each metric, a column for each system with its interval, the best baseline and the human estimate.

    With more than four systems only the super-baseline and the candidate have columns.
    """
    from rich.table import Table

    rest = baselines(results, candidate)
    best = super_baseline(rest)
    against = verdicts(results, candidate) if candidate in results else {}
    wide = len(rest) <= 3
    table = Table(
        title="Outputs against human texts (95% intervals)",
        title_justify="left",
        caption_justify="left",
        caption="p: permutation test that outputs and human texts are exchangeable",
    )
    table.add_column("")
    for name in rest if wide else ["best baseline"]:
        table.add_column(name, justify="right")
    if not wide:
        table.add_column("which", overflow="fold")
    if candidate in results:
        table.add_column(candidate, justify="right", style="bold")
        table.add_column("")
    table.add_column("p", justify="right")
    table.add_column("human", justify="right")
    marks = {"better": "[green]better[/]", "worse": "[red]worse[/]", "level": "level"}
    for metric in metrics or METRICS:
        have = [f[metric] for f in results.values() if metric in f and f[metric].value is not None]
        if not have:
            continue
        m = METRICS[metric]
        shown = (
            [f.get(metric, Estimate()) for f in rest.values()]
            if wide
            else [best[metric][1] if metric in best else Estimate()]
        )
        row = [f"{m.title} {_arrow(m.better)}", *(cell(metric, f) for f in shown)]
        if not wide:
            row.append(best[metric][0] if metric in best else "")
        last = results[candidate].get(metric, Estimate()) if candidate in results else have[-1]
        if candidate in results:
            row += [
                cell(metric, last),
                marks[against[metric][1].verdict] if metric in against else "",
            ]
        row += [
            "" if last.p is None else f"{last.p:.3f}",
            m.format(have[0].human) if have[0].human is not None else "",
        ]
        table.add_row(*row)
    return table


def cell(metric: str, estimate: Estimate) -> str:
    m = METRICS[metric]
    if estimate.low is None:
        return m.format(estimate.value)
    return f"{m.format(estimate.value)} ({m.format(estimate.low)} to {m.format(estimate.high)})"


def _arrow(better: str) -> str:
    return {"lower": "↓", "higher": "↑", "human": "→ human"}[better]
