"""The last lines of a run: the answer, what gives the texts away, and where the model is."""

from __future__ import annotations

import json
import textwrap

from dftfast.evaluation import BASELINE, METRICS, Estimate
from dftfast.evaluation.headline import why
from dftfast.evaluation.report.page import MAIN
from dftfast.evaluation.results import ARROWS
from dftfast.pipeline.run import Run
from dftfast.rollout import Sampler

ROWS = ("mmd2", "token_l2_1", "c2st", "jmq")
REASONS = 3
CANDIDATE = "dft"


def ending(run: Run, sampler: Sampler) -> str:
    """At most 20 lines of 80 columns, paths apart, from the results.json of the run."""
    results = json.loads((run.path / "results.json").read_text(encoding="utf-8"))

    settings = f"temperature {sampler.temperature:g}, top-p 1, top-k off"
    if sampler.min_p:
        settings += f", min-p {sampler.min_p:g}"
    where = {
        "model": run.path / "merged",
        "sampler": settings,
        "report": run.path / "report.html",
    }
    found = results["findings"][CANDIDATE]
    lines = [
        *textwrap.wrap(f"{found['sentence']} {sentence(results)}", 80),
        *why(found["reasons"], REASONS)[1:],
        *rows(results),
    ]
    return "\n".join([*lines, *(f"  {name:<9}{value}" for name, value in where.items())])


def sentence(results: dict) -> str:
    """The result: how many of the report's main figures are better, level and worse."""
    verdicts = [v["verdict"] for metric, v in results["verdicts"].items() if metric in MAIN]
    settings = [n for n in results["systems"] if n != CANDIDATE and not n.startswith(BASELINE)]
    better, level, worse = (verdicts.count(word) for word in ("better", "level", "worse"))
    return (
        f"DFT is better than the best of {len(settings)} SFT settings on {better} of "
        f"{len(verdicts)} metrics, level on {level}, worse on {worse}."
    )


def rows(results: dict) -> list[str]:
    """A row a metric: the best SFT setting, DFT, human texts against each other, the verdict."""
    table = [f"  {'':<26}{'best SFT':>10}{'DFT':>10}{'human':>10}"]
    for metric in ROWS:
        verdict = results["verdicts"].get(metric)
        if verdict is None:
            continue
        best = Estimate(**results["systems"][verdict["against"]][metric])
        ours, m = Estimate(**results["systems"][CANDIDATE][metric]), METRICS[metric]
        values = "".join(f"{m.format(value):>10}" for value in (best.value, ours.value, ours.human))
        table.append(f"  {m.title + ' ' + ARROWS[m.better]:<26}{values}   {verdict['verdict']}")
    return table
