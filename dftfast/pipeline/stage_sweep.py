"""Answer the held-out prompts with every fine-tuned model at every setting of the sampler."""

from __future__ import annotations

from pathlib import Path

from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_sft import fine_tuned, variants
from dftfast.rollout import Sampler


def sweep(run: Run) -> None:
    documents = run.held_out[: run.config.sweep.prompts]
    for name in variants(run):
        files = sweep_files(run, name)
        if run.missing_draws(documents, files):
            run.answer(run.engine(fine_tuned(run, name)), documents, files, f"sweep/{name}")


def sweep_files(run: Run, variant: str) -> dict[Path, Sampler]:
    """File of generations -> sampler."""
    c = run.config.sweep
    grid = [(t, p, k) for t in c.temperatures for p in c.top_p for k in c.top_k]
    folder = run.path / "generations" / "sft"
    return {
        folder / f"{variant} T={t:g} top-p={p:g} top-k={k}.jsonl": Sampler(
            t, k, p, max_tokens=run.max_tokens
        )
        for t, p, k in grid
    }
