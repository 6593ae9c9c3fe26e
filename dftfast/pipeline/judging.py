"""The judge of a run: what it is asked about, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tqdm import tqdm

from dftfast.endpoint import Budget, Limits
from dftfast.evaluation import Estimate, TextSet
from dftfast.evaluation.judge import QUESTIONS, Judged, judge_systems
from dftfast.evaluation.judge.compare import OTHER_PROMPT
from dftfast.evaluation.judge.log_lines import log_what_it_took
from dftfast.evaluation.judge.make import make_judge
from dftfast.evaluation.super_baseline import Results, super_baseline, super_baseline_systems
from dftfast.pipeline.run import Run

BEST_IN = ("mmd", "mmd_unseen", "token_l2_1", "style_mmd", "c2st")


def judged_best(
    run: Run, results: Mapping[str, dict[str, Estimate]], texts: Mapping[str, TextSet]
) -> list[Judged]:
    """What `judge.model` says of DFT's answers and of the best of the sweep; nothing without one.

    Asked is about the first `judge.prompts` prompts, and, to see what its verdicts are worth, about
    human texts of other prompts.

    Raises:
        UserError: it cannot be asked; what it said until then is kept.
    """
    c = run.config.judge
    if c.model is None:
        return []
    names = systems_to_judge(results)
    few = range(min(c.prompts, len(texts["human"])))
    human = texts["human"].select(few)
    sets = {name: texts[name].select(few) for name in names}
    sets[OTHER_PROMPT] = replace(human, texts=[*human.texts[1:], human.texts[0]])
    budget, device = Budget(c.max_cost), str(run.device)
    judge = make_judge("judge.model", "judge", c.model, Limits(), budget, device)
    questions = list(QUESTIONS) if c.dimensions else ["jmq"]
    total = 2 * len(few) * len(sets) * len(questions)
    with tqdm(total=total, desc=f"judge {judge.model}", unit="answer") as bar:
        judged = judge_systems(
            judge,
            sets,
            human,
            questions,
            both_orders=True,
            seed=run.config.run.seed,
            progress=bar.update,
        )
    log_what_it_took(judge)
    return [judged]


def systems_to_judge(results: Results) -> list[str]:
    """DFT, and the settings of the sweep that are best in one of the main figures."""
    best = super_baseline(super_baseline_systems(results, "dft"))
    return list(dict.fromkeys(["dft", *(best[m][0] for m in BEST_IN if m in best)]))
