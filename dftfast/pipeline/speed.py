"""How fast this machine trains and samples the model, measured on the run's own texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dftfast.model.lora import remove_adapter
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.packing import by_budget, pack
from dftfast.pipeline.run import Run
from dftfast.rollout import Request, Sampler

# Tokens of a training pass that is measured, texts that are sampled, tokens of each: on a CPU a few
# seconds for a model of 135M; on a GPU as many texts at once as a run has, or it would look slow.
CPU, GPU = (1024, 32, 32), (16_384, 512, 64)


@dataclass(frozen=True)
class Speed:
    """Tokens a second, prompts included in what is trained on and left out of what is sampled.

    Of what is embedded, texts a second.
    """

    trained: float
    sampled: float
    embedded: float


def measure_speed(run: Run) -> Speed:
    """Of the model in this configuration on this device; nothing is written.

    One pass of each kind warms up, the next one counts.
    """
    c = run.config.sft
    limit, texts, answer = GPU if run.device.type == "cuda" else CPU
    examples = run.examples(run.split.train[:texts])
    policy = run.policy(run.model_folder)
    parameters = policy.begin_phase(c.rank, c.rank, run.config.run.seed)
    tokens = min(limit, c.micro_tokens)
    batch = pack(next(iter(by_budget(examples, tokens)))).to(run.device)

    def train() -> int:
        likelihood(policy.decoder, batch, 1.0).backward()
        for parameter in parameters:
            parameter.grad = None
        return len(batch.tokens)

    trained = _rate(train, run.device)
    remove_adapter(policy.decoder)
    engine = run.engine(policy)
    answer = min(answer, run.max_tokens)
    sampler = Sampler(max_tokens=answer, min_tokens=answer)
    requests = [Request(i, e.prompt, sampler) for i, e in enumerate(examples)]
    sampled = _rate(lambda: len(engine.generate(requests).tokens), run.device)
    engine.release()
    own = [document.text for document in run.split.train[:texts]]
    embedded = _rate(lambda: len(run.embed(own)), run.device)
    return Speed(trained, sampled, embedded)


def _rate(work: Callable[[], int], device: torch.device) -> float:
    """What `work` counts, a second, the second time that it runs."""
    work()
    started = _now(device)
    count = work()
    return count / (_now(device) - started)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
