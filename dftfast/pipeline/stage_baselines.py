"""The same as DFT by each other method that was asked for."""

from __future__ import annotations

from pathlib import Path

from dftfast.baselines import BASELINES
from dftfast.data.generations import generation
from dftfast.dft.context import PhaseContext
from dftfast.dft.loop import run_phases
from dftfast.distribution.population import make_terms, select_population
from dftfast.evaluation import BASELINE
from dftfast.optimise.distributed import on_rank0
from dftfast.pipeline.draws_kept import add_draws
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_dft import dft_sampler, phase_context


def baselines(run: Run) -> None:
    for name, path in baseline_files(run).items():
        files = {path: dft_sampler(run)}
        missing = run.missing_draws(run.held_out, files)
        if not missing:
            continue
        context = phase_context(run, run.path / "baselines" / name)
        if name == "select":
            drawn = [selected_answers(run, context, draw) for _, draw in missing]
            on_rank0(lambda: add_draws(path, drawn))
        else:
            run_phases(context, BASELINES[name])
            run.answer(context.engine, run.held_out, files, f"baselines/{name}/answers")


def baseline_files(run: Run) -> dict[str, Path]:
    folder = run.path / "generations" / "baselines"
    return {name: folder / f"{BASELINE}{name}.jsonl" for name in run.config.baselines.methods}


def selected_answers(run: Run, context: PhaseContext, draw: int) -> list[dict]:
    """Of several answers to each held-out prompt the one that selection chooses: no training.

    Each draw chooses among candidates of its own.
    """
    rollouts = context.candidates(draw, run.examples(run.held_out))
    vocab = context.policy.decoder.config.vocab_size
    terms = make_terms(rollouts.samples, context.human_texts, vocab)
    chosen, _ = on_rank0(lambda: select_population(rollouts.prompt, terms, context.seed + draw))
    answer = {rollouts.prompt[i]: i for i in chosen}
    how = {"candidates": context.settings.candidates, "seed": context.seed + draw}
    rows = []
    for number, document in enumerate(run.held_out):
        i = answer.get(number)  # none where every candidate is empty
        text, tokens = (
            ("", []) if i is None else (rollouts.samples.texts[i], rollouts.samples.tokens_of(i))
        )
        rows.append(
            generation(
                document, text, tokens, "length" if i is None else "stop", how, f"{BASELINE}select"
            )
        )
    return rows
