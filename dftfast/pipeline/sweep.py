"""Answer the held-out prompts with every fine-tuned model at every setting of the sampler."""

from __future__ import annotations

from pathlib import Path

from ..rollout import RolloutEngine, Sampler
from .run import Run
from .sft import fine_tuned, variants


def sweep(run: Run) -> None:
    documents = run.held_out[: run.config.sweep.prompts]
    for name in variants(run):
        missing = {path: sampler for path, sampler in sweep_files(run, name).items() if not path.exists()}
        if missing:
            engine = RolloutEngine(fine_tuned(run, name).decoder, run.tokenizer)
            for path, sampler in missing.items():
                run.answer(engine, documents, sampler, path)


def sweep_files(run: Run, variant: str) -> dict[Path, Sampler]:
    """File of generations -> sampler."""
    c = run.config.sweep
    grid = [(t, p, k) for t in c.temperatures for p in c.top_p for k in c.top_k]
    folder = run.path / "generations" / "sft"
    return {
        folder / f"{variant} T={t:g} top-p={p:g} top-k={k}.jsonl": Sampler(t, k, p, max_tokens=run.max_tokens)
        for t, p, k in grid
    }
