"""Training curves from a run's log.jsonl."""
from __future__ import annotations

import json
from pathlib import Path

from . import plots


def training_curves(path: Path) -> list[dict]:
    """Loss by step and discrepancy by phase, where the log has them: title, SVG, names of the lines."""
    losses, phases = _read(path) if path.exists() else ({}, {})
    out = []
    if losses:
        out.append({"title": "Training loss", "svg": plots.lines(losses, x_title="step", title="Training loss"),
                    "legend": list(losses)})
    if phases:
        out.append({"title": "Discrepancy on tuning prompts, by phase (start = 1)", "legend": list(phases),
                    "svg": plots.lines(phases, x_title="phase", title="Discrepancy by phase")})
    return out


def _read(path: Path) -> tuple[dict, dict]:
    losses: dict[str, dict] = {}
    phases: dict[str, dict] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if "loss" in row and "step" in row:  # a step that was run again after a restart replaces the first
                losses.setdefault(row["stage"], {})[float(row["step"])] = float(row["loss"])
            elif "phase" in row and "score" in row:
                phases.setdefault("score", {})[float(row["phase"])] = float(row["score"])
        except (ValueError, TypeError, KeyError):
            continue  # the last line of a run that was killed
    points = lambda values: {name: [(x, y, None, None) for x, y in line.items()] for name, line in values.items()}
    return points(losses), points(phases)
