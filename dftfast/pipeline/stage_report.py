"""Measure every set of generations against the human texts: results.json and report.html."""

from __future__ import annotations

import logging

from dftfast.data.generations import read_draws
from dftfast.evaluation import (
    Estimate,
    Reference,
    ReportContext,
    TextSet,
    evaluate,
    write_report,
    write_results,
)
from dftfast.evaluation.judge import Judged, judge_estimates, judge_record
from dftfast.evaluation.outcome import find
from dftfast.model.embedder import Embedder
from dftfast.optimise.distributed import rank
from dftfast.pipeline.blend_texts import blend_ends
from dftfast.pipeline.judging import judged_best
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_baselines import baseline_files
from dftfast.pipeline.stage_sft import variants
from dftfast.pipeline.stage_sweep import sweep_files
from dftfast.pipeline.text_sets import text_set
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)


def report(run: Run) -> UserError | None:
    """Write the report; what kept the judge from answering, where it did.

    The report is then without its figures: hours of training are not lost to an API that is down.
    """
    from tqdm import tqdm

    c = run.config.evaluation
    documents = run.held_out[: run.config.sweep.prompts]
    unseen = Embedder(c.unseen_embedder)
    human = text_set(run, "human", documents, [d.text for d in documents], unseen)
    files = [path for name in variants(run) for path in sweep_files(run, name)]
    outputs = {}
    for path in [*files, *baseline_files(run).values(), run.path / "generations" / "dft.jsonl"]:
        draws = [draw[: len(documents)] for draw in read_draws(path)[: c.draws]]
        outputs[path.stem] = [
            text_set(run, path.stem, documents, [r["text"] for r in rows], unseen, rows)
            for rows in draws
        ]
    ends = blend_ends(run)
    if rank():
        return None
    corpus, special = [document.text for document in run.split.train], run.tokenizer.special_ids
    reference = Reference(
        human, exclude=special, rounds=c.rounds, seed=run.config.run.seed, corpus=corpus
    )
    results = {
        name: evaluate(draws, reference)
        for name, draws in tqdm(outputs.items(), desc="evaluate", unit="system")
    }
    about = {
        "prompts": len(documents),
        "draws": c.draws,
        "bandwidth": reference.bandwidth,
        "embedder": run.embedder.name,
    }
    first = {"human": human, **{name: draws[0] for name, draws in outputs.items()}}
    judged, unjudged = ask_judge(run, results, first)
    for name in judged[0].wins if judged else ():
        if name in results:
            results[name] |= judge_estimates(judged, name, c.rounds, run.config.run.seed)
    judges = [judge_record(each, c.rounds, run.config.run.seed) for each in judged]
    token_name = lambda token: run.tokenizer.decode([token])
    findings = find(results, first, reference, token_name)
    write_results(run.path, results, candidate="dft", about=about, judges=judges, findings=findings)
    context = ReportContext(
        reference, token_name=token_name, about=about, judges=judges, findings=findings, ends=ends
    )
    write_report(run.path, results, first, candidate="dft", context=context)
    return unjudged


def ask_judge(
    run: Run, results: dict[str, dict[str, Estimate]], texts: dict[str, TextSet]
) -> tuple[list[Judged], UserError | None]:
    """What the judge says, and what kept it from saying it."""
    try:
        return judged_best(run, results, texts), None
    except UserError as wrong:
        return [], UserError(
            f"{wrong}. The report has been written without the judge: start the run again to ask "
            "it, or with --judge.model=none to leave it out"
        )
