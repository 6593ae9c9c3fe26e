"""Several seeds of DFT against the super-baseline: what is left of each metric's distance.

    python benchmarks/experiments/bars.py RUN/results.json [RUN/results.json ...]

A row: the best fine-tuned system that any of the files has, DFT (mean over seeds, least and
largest), the human figure, what share of the best system's distance from the human figure DFT
leaves, and how many seeds are better than it, level and worse by the paired interval. A file
without DFT adds its fine-tuned systems only. C2ST's distance is its excess over one half.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean

from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.results import read_results
from dftfast.evaluation.super_baseline import super_baseline, super_baseline_systems


def table(paths: list[str]) -> str:
    """The rows as Markdown."""
    runs = [read_results(path) for path in paths]
    verdicts = [json.loads(Path(path).read_text(encoding="utf-8"))["verdicts"] for path in paths]
    systems = [super_baseline_systems(run, "dft") for run in runs]
    best = super_baseline({name: estimates for each in systems for name, estimates in each.items()})
    seeds = [run["dft"] for run in runs if "dft" in run]
    lines = [
        f"| | super-baseline | DFT, {len(seeds)} seeds | human | left | better, level, worse |",
        "|" + "---|" * 6,
    ]
    for metric, (name, figure) in best.items():
        values = [figures[metric].value for figures in seeds if metric in figures]
        if not values or None in values:
            continue
        show, mean = METRICS[metric].format, fmean(values)
        floor = 0.5 if metric.startswith("c2st") else figure.human
        distance = abs if METRICS[metric].better == "human" else float
        away = None if floor is None else distance(figure.value - floor)
        left = f"{100 * distance(mean - floor) / away:.0f}%" if away else "–"
        human = "–" if figure.human is None else show(figure.human)
        count = Counter(each[metric]["verdict"] for each in verdicts if metric in each)
        lines.append(
            f"| {METRICS[metric].title} | {show(figure.value)} ({name}) "
            f"| {show(mean)} ({show(min(values))} to {show(max(values))}) | {human} | {left} "
            f"| {count['better']}, {count['level']}, {count['worse']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(sys.argv[1:]))
