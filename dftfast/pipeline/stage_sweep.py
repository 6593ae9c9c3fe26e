"""Answer the held-out prompts with every fine-tuned model at every setting of the sampler.

Or with the best of them: in a race every setting answers a few validation prompts first, and those
that are best in one of the main figures go on. Nothing is chosen by the held-out prompts.
"""

from __future__ import annotations

import json
import logging
from itertools import product
from pathlib import Path

from dftfast.config import Config
from dftfast.data.generations import read_draws
from dftfast.evaluation import Reference, TextSet, evaluate
from dftfast.evaluation.report import MAIN
from dftfast.evaluation.super_baseline import Results, least_loss
from dftfast.model.embedder import Embedder
from dftfast.optimise.distributed import on_rank0
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_sft import fine_tuned, variants
from dftfast.pipeline.text_sets import text_set
from dftfast.rollout import Sampler
from dftfast.runtime.files import write_json

log = logging.getLogger(__name__)
FINALISTS = 2  # settings of each main figure that a race leaves
ROUNDS = 20  # of resampling in a race, whose intervals nobody reads


def sweep(run: Run) -> None:
    documents = run.held_out[: run.config.sweep.prompts]
    if run.config.sweep.race and on_rank0(lambda: read_race(run))["views"] != views(run.config):
        ended = {"views": views(run.config), "finalists": race(run)}
        on_rank0(lambda: write_json(finalists_file(run), ended))
    for name in variants(run):
        files = sweep_files(run, name)
        if run.missing_draws(documents, files):
            run.answer(run.engine(fine_tuned(run, name)), documents, files, f"sweep/{name}")


def race(run: Run) -> dict[str, list[str]]:
    """Answer the first validation prompts once at every setting; the finalists."""
    documents = run.split.validation[: run.config.sweep.race]
    unseen = Embedder(run.config.evaluation.unseen_embedder)
    human = text_set(run, "human", documents, [d.text for d in documents], unseen)
    outputs: dict[str, TextSet] = {}
    for name in variants(run):
        files = grid(run, name, finalists_file(run).parent)
        if run.missing_draws(documents, files, draws=1):
            run.answer(run.engine(fine_tuned(run, name)), documents, files, f"race/{name}", draws=1)
        for path in files:
            (rows,) = read_draws(path)
            texts = [row["text"] for row in rows]
            outputs[path.stem] = text_set(run, path.stem, documents, texts, unseen, rows)
    special, seed = run.tokenizer.special_ids, run.config.run.seed
    reference = Reference(human, exclude=special, rounds=ROUNDS, seed=seed)
    measured = lambda: {name: evaluate(texts, reference) for name, texts in outputs.items()}
    found = on_rank0(lambda: finalists(measured()))
    log.info("race: %d of %d settings go on", len(found), len(outputs))
    return found


def finalists(results: Results) -> dict[str, list[str]]:
    """The settings that are among the best `FINALISTS` of a main figure, with these figures."""
    found: dict[str, list[str]] = {}
    for metric in MAIN:
        left = {name: known[metric] for name, known in results.items() if metric in known}
        for _ in range(FINALISTS):
            if (best := least_loss(metric, left)) is None:
                break
            found.setdefault(best[0], []).append(metric)
            del left[best[0]]
    return found


def finalists_file(run: Run) -> Path:
    return run.path / "generations" / "sft" / "race" / "finalists.json"


def read_race(run: Run) -> dict:
    """How the last race ended: `finalists`, and the `views` that they were the best in."""
    try:
        return json.loads(finalists_file(run).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"views": None, "finalists": {}}


def views(c: Config) -> list[str | None]:
    """The embedders that a race sees answers by: with others it ends differently."""
    return [c.evaluation.embedder, c.evaluation.unseen_embedder]


def sweep_files(run: Run, variant: str) -> dict[Path, Sampler]:
    """File of generations -> sampler: of those settings that answer the held-out prompts."""
    files = grid(run, variant, run.path / "generations" / "sft")
    if not run.config.sweep.race:
        return files
    left = on_rank0(lambda: read_race(run))["finalists"]
    return {path: sampler for path, sampler in files.items() if path.stem in left}


def grid(run: Run, variant: str, folder: Path) -> dict[Path, Sampler]:
    """File of generations in the folder -> sampler: of every setting."""
    return {folder / f"{variant} {name}.jsonl": sampler for name, sampler in samplers(run).items()}


def samplers(run: Run) -> dict[str, Sampler]:
    """Every setting of the sampler by its name."""
    c = run.config.sweep
    return {
        f"T={t:g} top-p={p:g} top-k={k}" + (f" min-p={m:g}" if m else ""): Sampler(
            t, k, p, min_p=m, max_tokens=run.max_tokens
        )
        for t, p, k, m in product(c.temperatures, c.top_p, c.top_k, c.min_p)
    }


def settings_left(run: Run) -> int:
    """Settings that answer the held-out prompts; of a race the most that it can leave."""
    every = len(variants(run)) * len(samplers(run))
    return min(every, most_finalists()) if run.config.sweep.race else every


def most_finalists() -> int:
    """The most settings that a race can leave."""
    return FINALISTS * len(MAIN)


def answers_needed(run: Run, prompts: int) -> int:
    """Texts that the stage samples for so many held-out prompts."""
    asked = len(run.split.validation[: run.config.sweep.race or 0])
    in_race = len(variants(run)) * len(samplers(run)) * asked
    return in_race + settings_left(run) * prompts * run.config.evaluation.draws
