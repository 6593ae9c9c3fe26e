"""The same as DFT by each other method that was asked for."""

from __future__ import annotations

from pathlib import Path

from ..data.generations import generation, write_generations
from ..distribution.selection import make_terms, select_population
from ..evaluation import RIVAL
from ..training.dft import Task
from ..training.distributed import on_first
from ..training.phases import run_phases
from ..training.rivals import RIVALS
from .dft import dft_sampler, dft_task
from .run import Run


def rivals(run: Run) -> None:
    for name, path in rival_files(run).items():
        if path.exists():
            continue
        task = dft_task(run, run.path / "rivals" / name)
        if name == "select":
            rows = selected_answers(run, task)
            on_first(lambda: write_generations(path, rows))
        else:
            run_phases(task, RIVALS[name])
            run.answer(task.engine, run.held_out, {path: dft_sampler(run)}, f"rivals/{name}/answers")


def rival_files(run: Run) -> dict[str, Path]:
    folder = run.path / "generations" / "rivals"
    return {name: folder / f"{RIVAL}{name}.jsonl" for name in run.config.rivals.methods}


def selected_answers(run: Run, task: Task) -> list[dict]:
    """Of several answers to each held-out prompt the one that population selection chooses: no training."""
    c = task.settings
    rollouts = task.candidates(0, run.examples(run.held_out))
    vocab, weights = task.policy.decoder.config.vocab_size, c.weights.model_dump()
    terms = make_terms(rollouts.samples, task.human, vocab, weights)
    chosen, _ = on_first(lambda: select_population(rollouts.prompt, terms, task.seed))
    answer = {rollouts.prompt[i]: i for i in chosen}
    how = {"candidates": c.candidates, "temperatures": c.candidate_temperatures, "seed": task.seed}
    rows = []
    for number, document in enumerate(run.held_out):
        i = answer.get(number)  # none where every candidate was cut off or empty
        text, tokens = ("", []) if i is None else (rollouts.samples.texts[i], rollouts.samples.tokens_of(i))
        rows.append(generation(document, text, tokens, "length" if i is None else "stop", how, f"{RIVAL}select"))
    return rows
