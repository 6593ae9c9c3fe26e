"""The planner against runs of this processor: predicted over measured, in one process.

A round measures limits and shares, plans, and runs; the medians of the ratios are printed. Time is
the process's own, with one thread, so that other work on the machine counts little. Bar: 1 / 1.3 to
1.3.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from rollouts import prompts

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.device import pick_dtype
from dftfast.model.lora import add_adapter
from dftfast.model.pretrained import resolve_model
from dftfast.model.weights import load_decoder
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.packing import Example, batches, by_budget, pack
from dftfast.planning.calibrate import this_processor
from dftfast.planning.chips import Chip
from dftfast.planning.model_sizes import KNOWN
from dftfast.planning.rollout_steps import token_steps
from dftfast.planning.roofline import rollout_seconds, seconds
from dftfast.planning.work import Work, causal_pairs, optimiser_step, training_pass
from dftfast.rollout import Request, RolloutEngine, Sampler

RANK, ROUNDS = 32, 3
CPU = torch.device("cpu")
SETTINGS = FitSettings(1e-4, batch_tokens=2048, micro_tokens=1024)
PROMPT, LENGTHS, SEATS = 64, [16 + 7 * i % 80 for i in range(48)], 32
SHAPE = replace(KNOWN["Qwen/Qwen3-0.6B"], num_layers=6, vocab_size=49_152, eos_token_ids=())


def smollm() -> Decoder:
    return load_decoder(resolve_model(), pick_dtype(None, CPU))


def random_qwen3() -> Decoder:
    decoder = Decoder(SHAPE, pick_dtype(None, CPU))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
    return decoder


def texts() -> list[Example]:
    """Five updates, each of two passes."""
    rng = random.Random(0)
    tokens = lambda count: [rng.randrange(100, 30_000) for _ in range(count)]
    return [Example(tokens(40), tokens(rng.randrange(40, 200))) for _ in range(64)]


def training(config: ModelConfig, examples: list[Example]) -> Work:
    """The work of `fit` on the examples."""
    work = Work()
    for batch in batches(examples, SETTINGS.batch_tokens, 1, 1):
        for group in by_budget(batch, SETTINGS.micro_tokens):
            packed = pack(group)
            pairs = causal_pairs(packed.offsets.diff().tolist())
            work += training_pass(config, RANK, len(packed.distinct), pairs, len(packed.targets))
        work += optimiser_step(config, RANK)
    return work


def train(decoder: Decoder, examples: list[Example]) -> None:
    fit(decoder, add_adapter(decoder, RANK, RANK, seed=0), examples, SETTINGS, 1, lambda _: None)


def sampling(config: ModelConfig, chip: Chip) -> float:
    own = np.full(len(LENGTHS), PROMPT)
    return rollout_seconds(config, chip, own, token_steps(own, LENGTHS, SEATS))


def sampler_of(decoder: Decoder) -> Callable[[], object]:
    """A rollout on weights that are packed already, without prefixes of an earlier one."""
    decoder.config = replace(decoder.config, eos_token_ids=())
    engine = RolloutEngine(
        decoder,
        cache_tokens=SEATS * (PROMPT + max(LENGTHS) + 16),
        max_sequences=SEATS,
        agreement_samples=0,
        dtype=torch.bfloat16,
    )
    requests = [
        Request(i, prompt, Sampler(max_tokens=length))
        for i, (prompt, length) in enumerate(zip(prompts(len(LENGTHS), PROMPT), LENGTHS))
    ]
    engine.generate(requests[:1])

    def sample() -> None:
        engine.release()
        batch = engine.generate(requests)
        assert batch.offsets.diff().tolist() == LENGTHS

    return sample


def measured(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.parametrize("model", [smollm, random_qwen3])
def test_plan(benchmark, model):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        decoder, examples = model(), texts()
        sample = sampler_of(model())
        ratios: dict[str, list[float]] = {"training": [], "rollout": []}
        for _ in range(ROUNDS):
            chip = this_processor(time.process_time)
            planned = seconds(training(decoder.config, examples), chip)
            ratios["training"].append(planned / measured(lambda: train(decoder, examples)))
            ratios["rollout"].append(sampling(decoder.config, chip) / measured(sample))
        for name, values in ratios.items():
            benchmark.extra_info[f"{name}, planned/measured"] = round(statistics.median(values), 3)
        print(f"\n{chip.name}: {benchmark.extra_info} of rounds {ratios}")
        benchmark.pedantic(this_processor, args=(time.process_time,), rounds=1)
    finally:
        torch.set_num_threads(threads)
