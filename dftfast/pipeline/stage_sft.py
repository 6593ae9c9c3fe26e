"""Fine-tune every variant on the human texts."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from dftfast.model.adapter import Adapter
from dftfast.model.policy import Policy
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import LOSS_LIMIT, FitSettings, LoopHooks, fit
from dftfast.optimise.likelihood import nats_per_token
from dftfast.pipeline.run import Run
from dftfast.runtime.files import write_json

log = logging.getLogger(__name__)


def variants(run: Run) -> dict[str, tuple[str, float, float]]:
    """Name -> (method, learning rate, share of the texts) of every fine-tuned model."""
    c = run.config.sft
    rates = {"lora": c.learning_rates, "full": c.full_learning_rates or c.learning_rates}
    return {
        f"{m} lr={r:g} data={f:g}": (m, r, f)
        for m in c.method
        for r in rates[m]
        for f in c.fractions
    }


def variant_folder(run: Run, name: str) -> Path:
    """Where the variant is saved, by a name that any tool's command line takes as it is."""
    return run.path / "sft" / name.replace(" ", "-").replace("=", "")


def fine_tune(run: Run) -> None:
    """Train every variant, keep them all, and note how well each predicts the validation texts."""
    c, seed = run.config.sft, run.config.run.seed
    train, validation = run.examples(run.split.train[: run.max_texts]), run.examples(run.validation)
    file = run.path / "sft" / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name, (method, rate, fraction) in variants(run).items():
        if name in results:
            continue
        policy = run.policy(run.model_folder)
        if method == "lora":
            parameters = policy.begin_phase(c.rank, c.rank, seed)
        else:
            parameters = list(policy.decoder.parameters())
            policy.decoder.requires_grad_()
        settings = FitSettings(
            rate,
            epochs=c.epochs,
            batch_tokens=c.batch_tokens,
            micro_tokens=c.micro_tokens,
            loss_limit=LOSS_LIMIT,
        )
        texts = train[: round(fraction * len(train))]
        hooks = LoopHooks(checkpoints=run.checkpoints(f"sft/{name}"))
        steps = run.log.steps(f"sft {name}")
        fit(policy.decoder, parameters, texts, settings, seed, steps, hooks)
        if method == "lora":
            adapter = policy.end_phase()
            on_rank0(lambda: adapter.save(variant_folder(run, name), run.model_folder))
        else:
            on_rank0(lambda: policy.save(variant_folder(run, name), run.tokenizer))
        results[name] = {
            "texts": len(texts),
            "validation_nats": nats_per_token(policy.decoder, validation),
        }
        log.info(
            "sft %s: %.3f nats a token on the validation texts",
            name,
            results[name]["validation_nats"],
        )
        on_rank0(lambda: write_json(file, results))


def fine_tuned(run: Run, name: str, temperature: float = 1.0) -> Policy:
    """The variant of this name, with this temperature baked in."""
    folder, lora = variant_folder(run, name), variants(run)[name][0] == "lora"
    policy = run.policy(run.model_folder if lora else folder)
    if lora:
        policy.adapters.append(Adapter.load(folder))
    policy.temperature = temperature
    policy.merge_weights()
    return policy
