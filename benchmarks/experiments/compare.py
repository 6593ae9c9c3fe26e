"""Is recipe B better than recipe A? The rule for changes: by p < .01 over at least three seeds.

    python benchmarks/experiments/compare.py RUN A.yaml B.yaml [--seeds 3]

RUN is the folder of a run whose sft stage is done: the start. A and B hold keys of the
configuration in which the recipes differ. Each seed has its own candidates and its own answers to
all validation prompts; A and B share what they sample from the start. A row: how much of each
distance the phases of a recipe have closed, mean over seeds, and the difference with its standard
error. p is that of the mean of all views, paired over the seeds (t test). Started again, it goes
on; everything is kept under RUN/compare.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats

from dftfast.config import load_config
from dftfast.dft.loop import run_phases
from dftfast.dft.natural import natural_phase
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import phase_context


def main(run: Path, recipes: list[Path], seeds: int) -> None:
    closed = {
        recipe.stem: np.array([share_closed(run, recipe, seed) for seed in range(seeds)])
        for recipe in recipes
    }
    first, second = closed.values()
    names = [*record_of(run, recipes[0], 0)[0]["validation"], "all"]
    print(f"| closed | {' | '.join(closed)} | difference | ± |\n" + "|---" * 5 + "|")
    for i, name in enumerate(names):
        gap = second[:, i] - first[:, i]
        cells = [first[:, i].mean(), second[:, i].mean(), gap.mean(), stats.sem(gap)]
        print(f"| {name} | " + " | ".join(f"{100 * cell:.1f}%" for cell in cells) + " |")
    p = float(stats.ttest_rel(second[:, -1], first[:, -1]).pvalue)
    verdict = "goes in" if p < 0.01 and second[:, -1].mean() > first[:, -1].mean() else "stays out"
    print(f"p = {p:.3g} over {seeds} seeds: {recipes[1].stem} {verdict}")


def share_closed(run: Path, recipe: Path, seed: int) -> np.ndarray:
    """Of every distance, and of all in the mean, by the last phase."""
    records = record_of(run, recipe, seed)
    start, last = records[0]["validation"], records[-1].get("validation", records[0]["validation"])
    shares = [1 - last[name] / start[name] for name in start]
    return np.array([*shares, np.mean(shares)])


def record_of(run: Path, recipe: Path, seed: int) -> list[dict]:
    """Of each phase, trained where it is not on disk."""
    folder = run / "compare" / f"{recipe.stem}-{seed}"
    phases = folder / "phases.json"
    keys = [("run.folder", str(run)), ("dft.seed", str(seed))]
    config = load_config(files=[run / "config.yaml", recipe], overrides=keys)
    if not phases.exists() or len(json.loads(phases.read_text())) <= config.dft.phases:
        run_phases(phase_context(Run(config), folder), natural_phase)
    return json.loads(phases.read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("recipes", type=Path, nargs=2)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    main(options.run, options.recipes, options.seeds)
