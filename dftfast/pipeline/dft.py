"""Distribution fine-tuning of the best fine-tuned model, and the answers at its one sampler."""

from __future__ import annotations

import json
from pathlib import Path

from ..rollout import Sampler
from ..training.dft import Task
from ..training.distributed import on_first
from ..training.fit import nats_per_token
from ..training.phases import run_phases
from ..training.policy_gradient import policy_gradient_phase
from ..training.run_folder import write_json
from ..training.selection import selection_phase
from .run import Run
from .sft import fine_tuned

METHODS = {"selection": selection_phase, "policy_gradient": policy_gradient_phase}


def dft(run: Run) -> None:
    task = dft_task(run, run.path / "dft")
    run_phases(task, METHODS[run.config.dft.method])
    on_first(lambda: task.policy.save(run.path / "merged"))
    answers = f"dft/answers/{on_first(task.policy.fingerprint)}"  # another number of phases answers anew
    run.answer(task.engine, run.held_out, {run.path / "generations" / "dft.jsonl": dft_sampler(run)}, answers)
    nats = nats_per_token(task.policy.decoder, task.tuning)
    on_first(lambda: write_json(run.path / "dft" / "results.json", {"tuning_nats": nats}))


def dft_sampler(run: Run) -> Sampler:
    c = run.config.dft
    return Sampler(c.temperature, min_p=c.min_p, max_tokens=run.max_tokens)


def dft_task(run: Run, folder: Path) -> Task:
    """The model to start from, with its temperature baked in, and the texts that a phase needs."""
    c, split = run.config.dft, run.split
    folder.mkdir(parents=True, exist_ok=True)
    fitted = json.loads((run.path / "sft" / "results.json").read_text(encoding="utf-8"))
    best = min(fitted, key=lambda name: fitted[name]["tuning_nats"])
    policy, fitted_on = fine_tuned(run, best, c.bake_temperature), fitted[best]["texts"]
    inside = folder.relative_to(run.path)
    return Task(
        policy=policy,
        engine=run.engine(policy),
        tokenizer=run.tokenizer,
        embed=run.embed,
        examples=run.examples(split.train[fitted_on:] + split.train[:fitted_on]),  # prompts new to the model first
        human=run.samples(split.train[: c.bank]),
        tuning=run.examples(run.tuning),
        tuning_human=run.samples(split.tuning[len(run.tuning) :]),
        max_tokens=run.max_tokens,
        settings=c,
        seed=run.config.run.seed if c.seed is None else c.seed,
        folder=folder,
        log=run.log,
        checkpoints=lambda loop: run.checkpoints(inside / loop),
        rollouts=run.checkpoints(inside.parts[0]).folder / "rollouts",
    )
