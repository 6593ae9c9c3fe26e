"""What the evaluate command does with the rows of its files."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from dftfast.evaluation.assessors import Assessments
from dftfast.evaluation.blend_place import BlendEnds
from dftfast.evaluation.ci_report import report_checks
from dftfast.evaluation.command_sets import corpus_texts, embed, text_sets, tokenise
from dftfast.evaluation.headline import terminal_answer
from dftfast.evaluation.matching import Draws, copies_of_references, matched
from dftfast.evaluation.outcome import find
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.report import ReportContext, write_report
from dftfast.evaluation.report.page import MAIN
from dftfast.evaluation.results import terminal_table, write_results
from dftfast.evaluation.slop.overused import compared_phrases, phrases_of
from dftfast.evaluation.suite import evaluate
from dftfast.evaluation.super_baseline import Results
from dftfast.evaluation.textset import TextSet, align
from dftfast.evaluation.thresholds import Check, Checks, judge_figures, read_checks
from dftfast.runtime.version import __version__

log = logging.getLogger(__name__)


def evaluate_files(
    rows: dict[str, Draws], human: list[dict], options: Namespace, ends: BlendEnds | None = None
) -> bool:
    """Match, measure and report the draws of each system beside the human texts.

    `ends` is what these were blended from. Returns whether all checks of `--check` passed.
    """
    from rich.console import Console

    checks = read_checks(options.check) if options.check else None
    rows, human, notes = matched(rows, human, options.limit, options.seed)
    notes += copies_of_references(rows, human)
    for note in notes:
        log.warning("%s", note)
    every = {"human": [human], **rows}
    sets = text_sets(every, options)
    exclude, token_name = tokenise(sets, every, options.tokenizer)
    # refuses texts before time is spent on them
    reference = Reference(
        sets["human"][0],
        bandwidth=options.bandwidth,
        exclude=exclude,
        rounds=options.rounds,
        seed=options.seed,
        corpus=corpus_texts(options),
    )
    first = {name: draws[0] for name, draws in sets.items()}  # what is asked about and shown
    assessments = Assessments.ask(options, first, reference)
    embedder = embed(sets, options)
    results = {
        name: evaluate(sets[name], reference, also=options.also)
        for name in tqdm(rows, desc="evaluate", unit="set")
    }
    assessments.add_estimates(results)
    findings = find(results, first, reference, token_name)
    places = {}
    if options.out:
        records = assessments.records
        about = _about(first, reference, embedder, options)
        told = {"findings": findings, "notes": notes, "ends": ends}
        samplers = {name: draws[0][0].get("sampler") or {} for name, draws in rows.items()}
        write_results(options.out, results, options.candidate, about, **records, findings=findings)
        places["report"] = write_report(
            options.out,
            results,
            first,
            candidate=options.candidate,
            context=ReportContext(reference, samplers, token_name, about, **records, **told),
        )
    else:
        Console().print(terminal_table(results, options.candidate))
    print(terminal_answer(results, findings, options.candidate, MAIN, places))
    if checks is None:
        return True
    judged = _judged(checks, results, first, reference, options.candidate)
    report_checks(judged, options.out)
    return all(check.passed for check in judged)


def _judged(
    checks: Checks,
    results: Results,
    texts: Mapping[str, TextSet],
    reference: Reference,
    candidate: str | None,
) -> list[Check]:
    """The checks of every system, or of the candidate where there is one."""
    found = []
    for name in [candidate] if candidate else results:
        paired = not set(texts[name].ids).isdisjoint(reference.texts.ids)
        own = align(texts[name], reference.texts) if paired else texts[name]
        phrases = [phrases_of(text) for text in own.texts]
        compared = compared_phrases(phrases, reference.phrases, paired)
        found += judge_figures(checks, name, results[name], compared, len(phrases))
    return found


def _about(
    sets: Mapping[str, TextSet], reference: Reference, embedder: str, options: Namespace
) -> dict[str, object]:
    """What the figures were measured with."""
    human = set(reference.texts.ids)
    paired = [n for n, texts in sets.items() if n != "human" and not human.isdisjoint(texts.ids)]
    about: dict[str, object] = {
        "reference": Path(options.reference).name,
        "prompt by prompt": ", ".join(paired) or "none",
        "tokens": options.tokenizer or "token_ids of the files, else words and marks",
        "embedder": embedder,
        "second embedder": options.unseen_embedder,
        "bandwidth": reference.bandwidth,
        "rounds": options.rounds,
        "seed": options.seed,
        "version": __version__,
    }
    return about | {f"texts of {name}": len(texts) for name, texts in sets.items()}
