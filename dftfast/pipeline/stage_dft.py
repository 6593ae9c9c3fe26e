"""Distribution fine-tuning of the best fine-tuned model, and the answers at its one sampler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dftfast.dft.context import PhaseContext
from dftfast.dft.loop import run_phases
from dftfast.dft.natural import natural_phase
from dftfast.distribution.samples import Samples
from dftfast.model.embedder import Embedder
from dftfast.model.fixed_embedders import CHARACTER_NGRAMS
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.likelihood import nats_per_token
from dftfast.pipeline.match_groups import match_groups
from dftfast.pipeline.result import save_result
from dftfast.pipeline.run import Run
from dftfast.pipeline.run_target import reference
from dftfast.pipeline.stage_sft import fine_tuned
from dftfast.rollout import Sampler
from dftfast.runtime.files import write_json


def dft(run: Run) -> None:
    context = phase_context(run, run.path / "dft")
    run_phases(context, natural_phase)
    save_result(run, context.policy)
    # named by the weights, so that another number of phases answers anew
    policy = on_rank0(context.policy.fingerprint)
    answers, results = run.path / "generations" / "dft.jsonl", run.path / "dft" / "results.json"
    on_rank0(lambda: drop_answers_of_another(policy, answers, results))
    run.answer(context.engine, run.held_out, {answers: dft_sampler(run)}, f"dft/answers/{policy}")
    nats = nats_per_token(context.policy.decoder, context.validation)
    on_rank0(lambda: write_json(results, {"validation_nats": nats, "policy": policy}))


def drop_answers_of_another(policy: str, answers: Path, results: Path) -> None:
    """Remove answers that are not, by the results written after them, of this policy.

    What has been sampled of them is with the checkpoints until the stage is done.
    """
    if results.exists() and answers.exists():
        known = json.loads(results.read_text(encoding="utf-8"))
        if known.get("policy") == policy:
            return
    results.unlink(missing_ok=True)
    answers.unlink(missing_ok=True)


def dft_sampler(run: Run) -> Sampler:
    """The one sampler of the result: the whole distribution, but for `dft.min_p`."""
    return Sampler(1.0, min_p=run.config.dft.min_p, max_tokens=run.max_tokens)


def unseen_views(run: Run) -> dict[str, Callable[[Samples], Samples]]:
    """What embeds texts for validation alone: another family's embedder, and character n-grams."""

    def view(name: str) -> Callable[[Samples], Samples]:
        embedder = Embedder(name)
        return lambda texts: replace(texts, embeddings=run.embed(texts.texts, embedder))

    other = run.config.evaluation.unseen_embedder
    names = {"unseen": other, "characters": CHARACTER_NGRAMS}
    if other == CHARACTER_NGRAMS:
        del names["characters"]  # the same view would count twice
    return {name: view(embedder) for name, embedder in names.items()}


def phase_context(run: Run, folder: Path) -> PhaseContext:
    """The model to start from, with its temperature baked in, and the texts that a phase needs."""
    c, split = run.config.dft, run.split
    folder.mkdir(parents=True, exist_ok=True)
    fitted = json.loads((run.path / "sft" / "results.json").read_text(encoding="utf-8"))
    best = min(fitted, key=lambda name: fitted[name]["validation_nats"])
    policy, fitted_on = fine_tuned(run, best, c.bake_temperature), fitted[best]["texts"]
    inside, human = folder.relative_to(run.path), reference(run)
    prompts = split.train[fitted_on:] + split.train[:fitted_on]  # those new to the model first
    return PhaseContext(
        policy=policy,
        engine=run.engine(policy),
        tokenizer=run.tokenizer,
        embed=run.embed,
        examples=run.examples(prompts),
        human=human,
        validation=run.examples(run.validation),
        validation_human=run.samples(run.validation),
        unseen=unseen_views(run),
        max_tokens=run.max_tokens,
        settings=c,
        learning_rate=run.config.baselines.learning_rate,
        batch_tokens=run.config.baselines.batch_tokens,
        seed=run.config.run.seed if c.seed is None else c.seed,
        folder=folder,
        log=run.log,
        checkpoints=lambda loop: run.checkpoints(inside / loop),
        rollouts=run.checkpoints(inside.parts[0]).folder / "rollouts",
        groups=match_groups(run, human, prompts),
    )
