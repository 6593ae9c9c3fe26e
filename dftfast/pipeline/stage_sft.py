"""Fine-tune every variant on the human texts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple

from dftfast.model.adapter import Adapter
from dftfast.model.policy import Policy
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import LOSS_LIMIT, FitSettings, LoopHooks, fit
from dftfast.optimise.likelihood import nats_per_token
from dftfast.pipeline.run import Run
from dftfast.runtime.files import write_json

log = logging.getLogger(__name__)


class Variant(NamedTuple):
    """How a model is fine-tuned.

    Attributes:
        method: lora or full.
        rate: the learning rate.
        share: of the texts.
        epochs: passes over these.
    """

    method: str
    rate: float
    share: float
    epochs: int

    @property
    def name(self) -> str:
        again = f" epochs={self.epochs}" if self.epochs > 1 else ""
        return f"{self.method} lr={self.rate:g} data={self.share:g}{again}"


def variants(run: Run) -> dict[str, Variant]:
    """Every fine-tuned model by its name."""
    c = run.config.sft
    rates = {"lora": c.learning_rates, "full": c.full_learning_rates or c.learning_rates}
    found = [
        Variant(method, rate, share, epochs)
        for method in c.method
        for rate in rates[method]
        for share in c.fractions
        for epochs in c.epochs
    ]
    return {variant.name: variant for variant in found}


def texts_trained(run: Run) -> float:
    """Texts that all variants learn from, for one training text: each by its share and epochs."""
    return sum(variant.share * variant.epochs for variant in variants(run).values())


def variant_folder(run: Run, name: str) -> Path:
    """Where the variant is saved, by a name that any tool's command line takes as it is."""
    return run.path / "sft" / name.replace(" ", "-").replace("=", "")


def fine_tune(run: Run) -> None:
    """Train every variant, keep them all, and note how well each predicts the validation texts."""
    c, seed = run.config.sft, run.config.run.seed
    train, validation = run.examples(run.split.train[: run.max_texts]), run.examples(run.validation)
    file = run.path / "sft" / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name, (method, rate, share, epochs) in variants(run).items():
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
            epochs=epochs,
            batch_tokens=c.batch_tokens,
            micro_tokens=c.micro_tokens,
            loss_limit=LOSS_LIMIT,
        )
        texts = train[: round(share * len(train))]
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
    folder, lora = variant_folder(run, name), variants(run)[name].method == "lora"
    policy = run.policy(run.model_folder if lora else folder)
    if lora:
        policy.adapters.append(Adapter.load(folder))
    policy.temperature = temperature
    policy.merge_weights()
    return policy
