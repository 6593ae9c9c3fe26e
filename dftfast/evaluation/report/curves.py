"""What a run says of its training: curves from log.jsonl, rows from dft/phases.json."""

from __future__ import annotations

import json
from pathlib import Path

from dftfast.evaluation.report import plots

PHASE_FIGURES = {
    "Score": "score",
    "MMD²": "mmd",
    "Lexical MMD²": "lexical",
    "Style MMD²": "style",
    "Unseen MMD²": "unseen",
    "Character MMD²": "characters",
    "Token L2²": "1-grams",
    "2-gram L2²": "2-grams",
    "3-gram L2²": "3-grams",
    "Tokens a text": "length",
    "Nats a token": "entropy",
    "Repetition": "repetition",
    "Copied from the corpus": "copied",
    "Human texts, nats": "human_nats",
    "KL from the last": "kl",
}
GROUP_FIGURES = dict(list(PHASE_FIGURES.items())[1:9])  # the distances


def training_curves(path: Path) -> list[dict]:
    """Loss by step and discrepancy by phase, where the log has them: title, SVG, line names."""
    losses, phases = _read(path) if path.exists() else ({}, {})
    out = []
    if losses:
        out.append(
            {
                "title": "Training loss",
                "svg": plots.lines(losses, x_title="step", title="Training loss"),
                "legend": list(losses),
            }
        )
    if phases:
        out.append(
            {
                "title": "Discrepancy on validation prompts, by phase (change since the start)",
                "legend": list(phases),
                "svg": plots.lines(phases, x_title="phase", title="Discrepancy by phase"),
            }
        )
    return out


def phases(path: Path) -> list[dict]:
    """Of each phase its number, figures, why it was given up, and whether the result holds it.

    The figures are its score, discrepancies and collapse on the validation prompts, in the order of
    `PHASE_FIGURES`; None where there are none. Those of groups of prompts have the name of the
    group, its prompts, and its distances in the order of `GROUP_FIGURES`.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for record in records:
            known = (
                {"score": record.get("score")}
                | record.get("validation", {})
                | record.get("collapse", {})
            )
            rows.append(
                {
                    "phase": record["phase"],
                    "figures": [known.get(name) for name in PHASE_FIGURES.values()],
                    "dropped": record.get("dropped", []),
                    "kept": record.get("kept", False),
                    "groups": [
                        {
                            "name": name,
                            "prompts": group["prompts"],
                            "figures": [
                                group["validation"].get(view) for view in GROUP_FIGURES.values()
                            ],
                        }
                        for name, group in record.get("groups", {}).items()
                    ],
                }
            )
        return rows
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _read(path: Path) -> tuple[dict, dict]:
    losses: dict[str, dict] = {}
    phases: dict[str, dict] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if (
                "loss" in row and "step" in row
            ):  # a step that was run again after a restart replaces the first
                losses.setdefault(row["stage"], {})[float(row["step"])] = float(row["loss"])
            elif "phase" in row and "score" in row:
                phases.setdefault("score", {})[float(row["phase"])] = float(row["score"])
        except (ValueError, TypeError, KeyError):
            continue  # the last line of a run that was killed
    points = lambda values: {
        name: [(x, y, None, None) for x, y in line.items()] for name, line in values.items()
    }
    return points(losses), points(phases)
