"""Tables and figures of the runs in benchmarks/results that have a card (README.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from builders.svg_charts import Dumbbell, dumbbells

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.results import read_results
from dftfast.evaluation.super_baseline import super_baseline, super_baseline_systems

OURS = "dft"
SHOWN = (
    *("mmd2", "mmd2_unseen", "style_mmd", "token_l2_1", "token_l2_2", "token_l2_3"),
    *("c2st", "c2st_unseen", "words", "self_bleu"),
)


@dataclass(frozen=True)
class Row:
    """One metric: the best baseline, ours over the seeds, human texts, and the verdicts.

    Attributes:
        left: share of the best baseline's distance from the human figure that ours leaves: of the
            mean, the least and the largest seed, and of the human interval.
    """

    metric: str
    best: float
    name: str
    seeds: list[float]
    human: float
    verdicts: list[str]
    interval: tuple[float, float] | None

    def left(self, value: float) -> float:
        away = self.best - self.human
        return (value - self.human) / away if away else 0.0

    def z(self) -> float | None:
        """How many standard deviations of human texts ours is from them."""
        if self.interval is None or self.interval[1] <= self.interval[0]:
            return None
        return (fmean(self.seeds) - self.human) / ((self.interval[1] - self.interval[0]) / 3.92)


@dataclass(frozen=True)
class RunCard:
    """One folder of results.

    Attributes:
        facts: what the card says in lines such as "- minutes: 25".
    """

    name: str
    title: str
    facts: dict[str, str]
    rows: list[Row]

    def left(self) -> float:
        """Mean share of the distances that is left."""
        return fmean(row.left(fmean(row.seeds)) for row in self.distances())

    def distances(self) -> list[Row]:
        return [row for row in self.rows if METRICS[row.metric].better == "lower"]

    def chart(self) -> str:
        seeds = len(self.rows[0].seeds) if self.rows else 0
        return dumbbells(
            [_dumbbell(row) for row in self.distances()],
            f"{self.title}: what is left of the distance to human text",
            f"blue: DFT, {seeds} run{'s' * (seeds > 1)}; green: human texts among themselves",
        )


def run_cards(results: Path) -> list[RunCard]:
    """The folders that have a card and results of DFT, by name."""
    folders = [page.parent for page in sorted(results.glob("*/README.md"))]
    return [card for folder in folders if (card := _card(folder)).distances()]


def _card(folder: Path) -> RunCard:
    files = sorted(folder.glob("results*.json"))
    runs = [read_results(file) for file in files]
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    card = (folder / "README.md").read_text(encoding="utf-8")
    title, facts = card.splitlines()[0].lstrip("# "), dict(re.findall(r"(?m)^- (\w+): (.+)$", card))
    others: dict = {}
    for run in runs:
        others |= super_baseline_systems(run, OURS)
    best = super_baseline(others)
    ours = [(run[OURS], record["verdicts"]) for run, record in zip(runs, records) if OURS in run]
    rows = [row for metric in SHOWN if metric in best and (row := _row(metric, best[metric], ours))]
    return RunCard(folder.name, title, facts, rows)


def _row(
    metric: str,
    best: tuple[str, Estimate],
    ours: list[tuple[Mapping[str, Estimate], dict]],
) -> Row | None:
    name, figure = best
    seeds = [run[metric].value for run, _ in ours if metric in run]
    if not seeds or None in seeds or figure.value is None or figure.human is None:
        return None
    human = 0.5 if metric.startswith("c2st") else figure.human
    ends = None
    if figure.human_low is not None and figure.human_high is not None:
        ends = (figure.human_low, figure.human_high)
    verdicts = [verdict[metric]["verdict"] for _, verdict in ours if metric in verdict]
    return Row(metric, figure.value, name, seeds, human, verdicts, ends)


def _dumbbell(row: Row) -> Dumbbell:
    shares = [row.left(value) for value in row.seeds]
    band = None
    if row.interval:
        low, high = sorted(map(row.left, row.interval))
        band = (low, high)
    title = METRICS[row.metric].title.replace("unseen embedder", "unseen")
    return Dumbbell(title, fmean(shares), min(shares), max(shares), band)


def runs_page(cards: list[RunCard]) -> str:
    """All runs by what is left, then a figure and a table a run."""
    if not cards:
        return "No run on record has a card yet.\n"
    head = [
        "## Distance left to human text\n",
        "| run | left, mean of the distances | z of MMD² | minutes | commit |",
        "|---|---|---|---|---|",
    ]
    ranked = sorted(cards, key=RunCard.left)
    return "\n".join([*head, *map(_ranked, ranked), "", *map(_section, cards)])


def _ranked(card: RunCard) -> str:
    z = next((row.z() for row in card.rows if row.metric == "mmd2"), None)
    shown = "–" if z is None else f"{z:.1f}"
    minutes, commit = (card.facts.get(name, "–") for name in ("minutes", "commit"))
    return f"| {card.title} | {100 * card.left():.0f}% | {shown} | {minutes} | {commit} |"


def _section(card: RunCard) -> str:
    head = [
        f"## {card.title}\n",
        f"![What is left of the distance to human text](figures/{card.name}.svg)\n",
        f"[Command, machine, commit and report](../benchmarks/results/{card.name}/README.md).\n",
        "| | best SFT | DFT | human | left | verdict |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_line, card.rows), ""])


def _line(row: Row) -> str:
    m, mean = METRICS[row.metric], fmean(row.seeds)
    spread = f" ({m.format(min(row.seeds))} to {m.format(max(row.seeds))})"
    spread = spread if len(row.seeds) > 1 else ""
    left = f"{100 * abs(row.left(mean)):.0f}%" if row.best != row.human else "–"
    words = [f"{word} {row.verdicts.count(word)}" for word in ("better", "level", "worse")]
    said = ", ".join(word for word in words if not word.endswith(" 0"))
    said = row.verdicts[0] if len(row.verdicts) == 1 else said
    cells = (m.title, m.format(row.best), m.format(mean) + spread, m.format(row.human), left, said)
    return "| " + " | ".join(cells) + " |"
