"""How well a phase follows each view, by recipe, on prompts that it was not trained on.

    python benchmarks/experiments/follow.py RUN VARIANTS.yaml

RUN is a run folder whose sft stage is done; VARIANTS maps a name to keys of the `dft` section, with
no more prompts than RUN has, the same start and the same reference. The first phase is trained on
`dft.prompts` prompts; the candidates of the next `OTHERS` prompts of RUN, sampled from the start as
well, are then scored by log p / p₀ of their text, p the policy half the step on.

A view is a score of texts as in choice.py: 0 at the policy, 1 where human text is. To first order,
writing texts by p instead of p₀ moves the mean of a view by the covariance of view and log-ratio,
within the candidates of a prompt. A column is that covariance over the spread of the log-ratio:
what share of the way to human text a step closes for each nat by which it tells texts apart. Steps
are compared at the same spread so, and no sample from p is needed, whose noise would hide the
difference. ± is the standard deviation over prompts: of the first variant its own, of the others
that of their difference from it. The first row is the spread of a view within a prompt: what a
log-ratio in proportion to the view itself would have.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from choice import views_of

from dftfast.config import load_config
from dftfast.dft.context import PhaseContext
from dftfast.model.lora import lora_layers, remove_adapter
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import METHODS, phase_context

OTHERS = 240
STEP = 0.5


def main(folder: str, variants: str) -> None:
    base = Run(load_config(files=[f"{folder}/config.yaml"], overrides=[("run.folder", folder)]))
    embedded = cache(
        lambda texts: base.embed(list(texts))
    )  # all variants choose from the same candidates
    context = replace(
        phase_context(base, base.path / "ablations" / "follow"),
        embed=lambda texts: embedded(tuple(texts)),
    )
    prompts = context.phase_prompts(2)[:OTHERS]
    rollouts = context.candidates(1, prompts)
    texts = [
        Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
        for i, p in enumerate(rollouts.prompt)
    ]
    found = views_of(base, context, prompts, rollouts.prompt, rollouts.samples)
    views = {name: within(np.nan_to_num(score), rollouts.prompt) for name, score in found.items()}
    before = logprobs(context, texts)
    print(
        "| variant | "
        + " | ".join(views)
        + " | spread, nats | minutes |\n|"
        + "---|" * (3 + len(views))
    )
    print(
        "| a view's own spread | "
        + " | ".join(f"{score.std():.2f}" for score in views.values())
        + " | | |",
        flush=True,
    )
    first: dict[str, np.ndarray] = {}
    for name, keys in yaml.safe_load(Path(variants).read_text(encoding="utf-8")).items():
        overrides = [
            ("run.folder", folder),
            *((f"dft.{key}", str(value)) for key, value in keys.items()),
        ]
        settings = load_config(files=[f"{folder}/config.yaml"], overrides=overrides).dft
        inside = Path("ablations", "follow", name)
        variant = replace(
            context,
            settings=settings,
            folder=base.path / inside,
            checkpoints=lambda loop, inside=inside: base.checkpoints(inside / loop),
        )
        start = time.monotonic()
        METHODS[settings.method](variant, 1)
        minutes = (time.monotonic() - start) / 60
        for module in lora_layers(context.policy.decoder).values():
            module.scale *= STEP
        ratio = within(logprobs(context, texts) - before, rollouts.prompt)
        remove_adapter(context.policy.decoder)
        row = []
        for view, score in views.items():
            of_prompt = np.bincount(rollouts.prompt, score * ratio, OTHERS) / ratio.std()
            error = (of_prompt - first.get(view, 0)).std() * OTHERS**0.5 / len(texts)
            row.append(f"{of_prompt.sum() / len(texts):.2f} ± {error:.2f}")
            first.setdefault(view, of_prompt)
        print(
            f"| {name} | " + " | ".join(row) + f" | {ratio.std():.2f} | {minutes:.1f} |", flush=True
        )


def logprobs(context: PhaseContext, texts: list[Example]) -> np.ndarray:
    """Log-probability of each text."""
    return np.array(
        [
            sum(part)
            for part in token_logprobs(context.policy.decoder, texts, context.settings.micro_tokens)
        ]
    )


def within(values: np.ndarray, prompt: list[int]) -> np.ndarray:
    """Less the mean over the texts of the same prompt.

    It is scaled, so that a mean of squares is the variance.
    """
    count = np.bincount(prompt)
    away = values - (np.bincount(prompt, values) / np.maximum(count, 1))[prompt]
    return away * (len(prompt) / (len(prompt) - np.count_nonzero(count))) ** 0.5


if __name__ == "__main__":
    main(*sys.argv[1:])
