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
    *("mmd2", "mmd2_unseen", "style_mmd", "token_sq_1", "token_sq_2", "token_sq_3"),
    *("c2st", "c2st_unseen", "length_mean", "self_bleu"),
)


@dataclass(frozen=True)
class Seed:
    """One run: the best of its fine-tuned systems in each metric, ours, and the verdicts."""

    best: Mapping[str, tuple[str, Estimate]]
    ours: Mapping[str, Estimate]
    verdicts: Mapping[str, dict]


@dataclass(frozen=True)
class Row:
    """One metric: the best baseline in the mean, ours by seed, human texts, and the verdicts.

    Attributes:
        seeds: our value of each.
        interval: ends of the human level.
    """

    metric: str
    best: float
    seeds: list[float]
    human: float
    verdicts: list[str]
    interval: tuple[float, float] | None

    @property
    def is_distance(self) -> bool:
        """Whether there is a way to human text to close."""
        return METRICS[self.metric].better == "lower"

    @property
    def mean(self) -> float:
        """Ours, over the seeds."""
        return fmean(self.seeds)

    def left(self, value: float) -> float:
        """The share of the best baseline's distance to human text that a value leaves."""
        away = self.best - self.human
        return (value - self.human) / away if away else 0.0

    def left_text(self) -> str:
        """What the mean of the seeds leaves, of a distance; other figures have none to close."""
        return f"{100 * self.left(self.mean):.0f}%" if self.is_distance else "–"

    def z(self) -> float | None:
        """How many standard deviations of human texts ours is from them."""
        if self.interval is None or self.interval[1] <= self.interval[0]:
            return None
        return (self.mean - self.human) / ((self.interval[1] - self.interval[0]) / 3.92)


@dataclass(frozen=True)
class RunCard:
    """One folder of results.

    Attributes:
        facts: what the card says in lines such as "- minutes: 25".
        about: what the results say of the whole: prompts, draws.
        verdicts: of each seed by metric.
    """

    name: str
    title: str
    facts: dict[str, str]
    rows: list[Row]
    about: Mapping[str, object]
    verdicts: list[dict[str, str]]

    def left(self) -> float:
        """Mean share of the distances that is left."""
        return fmean(row.left(row.mean) for row in self.distances())

    def distances(self) -> list[Row]:
        return [row for row in self.rows if row.is_distance]

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
    bests = [super_baseline(super_baseline_systems(run, OURS)) for run in runs]
    seeds = [
        Seed(best, run[OURS], record["verdicts"])
        for best, run, record in zip(bests, runs, records)
        if OURS in run
    ]
    rows = [row for metric in SHOWN if (row := _row(metric, seeds))]
    verdicts = [{metric: each["verdict"] for metric, each in s.verdicts.items()} for s in seeds]
    about = records[0]["about"] if records else {}
    return RunCard(folder.name, title, facts, rows, about, verdicts)


def _row(metric: str, seeds: list[Seed]) -> Row | None:
    """Each seed beside the best of its own fine-tuned models."""
    known = [seed for seed in seeds if metric in seed.best and metric in seed.ours]
    figures = [seed.best[metric][1] for seed in known]
    values = [seed.ours[metric].value for seed in known]
    best = [figure.value for figure in figures if figure.value is not None]
    people = [figure.human for figure in figures if figure.human is not None]
    ours = [value for value in values if value is not None]
    if not known or not len(best) == len(people) == len(ours) == len(known):
        return None
    human = 0.5 if metric.startswith("c2st") else fmean(people)
    lows = [figure.human_low for figure in figures if figure.human_low is not None]
    highs = [figure.human_high for figure in figures if figure.human_high is not None]
    ends = (fmean(lows), fmean(highs)) if lows and highs else None
    verdicts = [seed.verdicts[metric]["verdict"] for seed in known if metric in seed.verdicts]
    return Row(metric, fmean(best), ours, human, verdicts, ends)


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
    m = METRICS[row.metric]
    spread = f" ({m.format(min(row.seeds))} to {m.format(max(row.seeds))})"
    spread = spread if len(row.seeds) > 1 else ""
    words = [f"{word} {row.verdicts.count(word)}" for word in ("better", "level", "worse")]
    said = ", ".join(word for word in words if not word.endswith(" 0"))
    said = row.verdicts[0] if len(row.verdicts) == 1 else said
    values = (m.format(row.best), m.format(row.mean) + spread, m.format(row.human))
    return "| " + " | ".join((m.title, *values, row.left_text(), said)) + " |"
