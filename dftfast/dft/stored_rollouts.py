"""Rollouts that are not sampled again: made in parts, each kept on disk until its stage is done."""

from __future__ import annotations

import logging
import shutil
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from dftfast.model.device import is_out_of_memory
from dftfast.optimise.checkpoint import read_state, write_state
from dftfast.optimise.distributed import all_gather, on_rank0, rank, world_size
from dftfast.optimise.log import progress_bar
from dftfast.optimise.sharded_join import sharded_join
from dftfast.rollout import Request, RolloutBatch, RolloutEngine
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import digest

log = logging.getLogger(__name__)

WAVES = 16  # samples of a part, for each that the engine runs at once: its last few run with less company


def generate(
    engine: RolloutEngine, requests: list[Request], folder: Path, what: str
) -> list[RolloutBatch]:
    """Answer the requests with the policy as it stands, in parts; those in ``folder`` are read instead.

    A part does not depend on the others, so the result is the same wherever the process was stopped. ``folder`` and
    ``what``, which names the rollout, stand for the state of the policy, which is not compared.
    """
    size = WAVES * engine.max_sequences * world_size()
    batches = []
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        path = folder / f"{digest(what, part)}-{start}"
        batch = on_rank0(lambda: _read(path))
        if batch is None:
            batch = sample(engine, part, what)
            on_rank0(lambda: _write(path, batch))
        batches.append(batch)
    return batches


def sample(engine: RolloutEngine, requests: list[Request], what: str) -> RolloutBatch:
    """Answer the requests with the policy as it stands; processes share them by prompt and all get the whole, on the CPU."""
    prompts = [list(group) for _, group in groupby(requests, key=lambda request: request.prompt)]
    mine = [request for group in prompts[rank() :: world_size()] for request in group]
    if world_size() == 1:
        return _on_cpu(_generate(engine, mine, what))
    with sharded_join(engine.decoder):
        try:
            own = _on_cpu(_generate(engine, mine, what))
        except Diverged as wrong:
            own = wrong
    found = all_gather(own)
    for wrong in found:
        if isinstance(wrong, Diverged):
            raise wrong
    return _merge(found, requests)


def _merge(batches: list[RolloutBatch], requests: list[Request]) -> RolloutBatch:
    """The samples of all batches in the order of the requests."""
    place = {request.id: i for i, request in enumerate(requests)}
    found = []  # (place, sample, its batch and number there)
    for batch in batches:
        ids = zip(batch.request.tolist(), batch.sample.tolist())
        found += [(place[request], sample, batch, i) for i, (request, sample) in enumerate(ids)]
    found.sort(key=lambda each: each[:2])

    def ragged(name: str, offsets: str) -> tuple[Tensor, Tensor]:
        bounds = [getattr(batch, offsets)[i : i + 2].tolist() for _, _, batch, i in found]
        parts = [
            getattr(batch, name)[start:end] for (_, _, batch, _), (start, end) in zip(found, bounds)
        ]
        return torch.cat(parts), torch.tensor([0, *map(len, parts)]).cumsum(0)

    prompt_tokens, prompt_offsets = ragged("prompt_tokens", "prompt_offsets")
    tokens, offsets = ragged("tokens", "offsets")
    return RolloutBatch(
        request=torch.stack([batch.request[i] for _, _, batch, i in found]),
        sample=torch.stack([batch.sample[i] for _, _, batch, i in found]),
        prompt_tokens=prompt_tokens,
        prompt_offsets=prompt_offsets,
        tokens=tokens,
        offsets=offsets,
        logprobs=ragged("logprobs", "offsets")[0],
        sampler_logprobs=ragged("sampler_logprobs", "offsets")[0],
        entropies=ragged("entropies", "offsets")[0],
        finish_reason=[batch.finish_reason[i] for _, _, batch, i in found],
        agreement=batches[0].agreement,
    )


def _on_cpu(batch: RolloutBatch) -> RolloutBatch:
    return RolloutBatch(
        **{
            name: value.cpu() if isinstance(value, Tensor) else value
            for name, value in vars(batch).items()
        }
    )


def _generate(engine: RolloutEngine, requests: list[Request], what: str) -> RolloutBatch:
    """Halve the cache as often as memory runs out: random numbers belong to requests, so the samples stay."""
    while True:
        try:
            with progress_bar(what) as progress:
                return engine.generate(requests, progress)
        except (MemoryError, RuntimeError) as wrong:
            if not is_out_of_memory(wrong) or engine.memory_share < 1e-3 or engine.decoder.sharded:
                raise
        except FloatingPointError as wrong:
            raise Diverged(f"{what}: {wrong}") from wrong
        finally:
            engine.release()
        engine.memory_share /= 2
        log.warning(
            "out of memory: sampling goes on with %.3g of the free memory", engine.memory_share
        )


def _write(path: Path, batch: RolloutBatch) -> None:
    tensors = {
        name: value.cpu() for name, value in vars(batch).items() if isinstance(value, Tensor)
    }
    write_state(path, tensors, {"finish_reason": batch.finish_reason})


def _read(path: Path) -> RolloutBatch | None:
    """None where there is none, or a damaged one, which is removed."""
    try:
        tensors, state = read_state(path)
        return RolloutBatch(**tensors, **state)
    except (OSError, ValueError, SafetensorError):
        shutil.rmtree(path, ignore_errors=True)
        return None
