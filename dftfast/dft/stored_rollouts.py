"""Rollouts that are not sampled again: made in parts, each kept on disk until its stage is done."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from dftfast.model.device import is_out_of_memory
from dftfast.optimise.checkpoint import read_state, write_state
from dftfast.optimise.distributed import all_gather, on_rank0, shard, world_size
from dftfast.optimise.log import progress_bar
from dftfast.optimise.sharded_join import sharded_join
from dftfast.rollout import Request, RolloutBatch, RolloutEngine
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import digest

log = logging.getLogger(__name__)

# Samples of a part, for each that the engine runs at once: its last few run with less company.
WAVES = 16


def generate(
    engine: RolloutEngine,
    requests: list[Request],
    folder: Path,
    label: str,
    lengths: Sequence[int] | None = None,
) -> list[RolloutBatch]:
    """Answer the requests with the policy as it stands, in parts, or read those in `folder`.

    A part does not depend on the others, so the result is the same wherever the process was
    stopped. `folder` and `label`, which names the rollout, stand for the state of the policy, which
    is not compared. `lengths` are as in `sample`.
    """
    size = WAVES * engine.max_sequences * world_size()
    batches = []
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        path = folder / f"{digest(label, part)}-{start}"
        batch = on_rank0(partial(_read, path))
        if batch is None:
            batch = sample(engine, part, label, lengths and lengths[start : start + size])
            on_rank0(partial(_write, path, batch))
        batches.append(batch)
    return batches


def sample(
    engine: RolloutEngine,
    requests: list[Request],
    label: str,
    lengths: Sequence[int] | None = None,
) -> RolloutBatch:
    """Answer the requests with the policy as it stands, on the CPU.

    Processes share the requests by prompt, balanced by length, and all get the whole.

    Args:
        lengths: tokens that a sample of each request is expected to have; without them, as many
            as it may have. They decide who answers it, and nothing else.
    """
    if world_size() == 1:
        return _on_cpu(_generate(engine, requests, label))
    mine = own_share(requests, lengths or [request.sampler.max_tokens for request in requests])
    with sharded_join(engine.decoder):
        try:
            own: RolloutBatch | Diverged = _on_cpu(_generate(engine, mine, label))
        except Diverged as wrong:
            own = wrong
    shares: list[RolloutBatch] = []
    for share in all_gather(own):
        if isinstance(share, Diverged):
            raise share
        shares.append(share)
    return _merge(shares, requests)


def own_share(requests: list[Request], lengths: Sequence[int]) -> list[Request]:
    """This process's share of the requests: those of one prompt stay together."""
    numbered = groupby(range(len(requests)), key=lambda i: requests[i].prompt)
    prompts = [list(group) for _, group in numbered]
    sizes = [
        len(requests[group[0]].prompt) + sum(requests[i].n * lengths[i] for i in group)
        for group in prompts
    ]
    return [requests[i] for group in shard(prompts, sizes) for i in group]


def _merge(batches: list[RolloutBatch], requests: list[Request]) -> RolloutBatch:
    """The samples of all batches in the order of the requests."""
    place = {request.id: i for i, request in enumerate(requests)}
    samples = []  # (place, sample, its batch and number there)
    for batch in batches:
        ids = zip(batch.request.tolist(), batch.sample.tolist())
        samples += [(place[request], sample, batch, i) for i, (request, sample) in enumerate(ids)]
    samples.sort(key=lambda each: each[:2])

    def ragged(name: str, offsets: str) -> tuple[Tensor, Tensor]:
        bounds = [getattr(batch, offsets)[i : i + 2].tolist() for _, _, batch, i in samples]
        parts = [
            getattr(batch, name)[start:end]
            for (_, _, batch, _), (start, end) in zip(samples, bounds)
        ]
        return torch.cat(parts), torch.tensor([0, *map(len, parts)]).cumsum(0)

    prompt_tokens, prompt_offsets = ragged("prompt_tokens", "prompt_offsets")
    tokens, offsets = ragged("tokens", "offsets")
    return RolloutBatch(
        request=torch.stack([batch.request[i] for _, _, batch, i in samples]),
        sample=torch.stack([batch.sample[i] for _, _, batch, i in samples]),
        prompt_tokens=prompt_tokens,
        prompt_offsets=prompt_offsets,
        tokens=tokens,
        offsets=offsets,
        logprobs=ragged("logprobs", "offsets")[0],
        sampler_logprobs=ragged("sampler_logprobs", "offsets")[0],
        entropies=ragged("entropies", "offsets")[0],
        finish_reason=[batch.finish_reason[i] for _, _, batch, i in samples],
        agreement=batches[0].agreement,
    )


def _on_cpu(batch: RolloutBatch) -> RolloutBatch:
    return replace(batch, **{name: tensor.cpu() for name, tensor in _tensors(batch).items()})


def _tensors(batch: RolloutBatch) -> dict[str, Tensor]:
    return {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}


def _generate(engine: RolloutEngine, requests: list[Request], label: str) -> RolloutBatch:
    """Halve the cache as often as memory runs out.

    Random numbers belong to requests, so the samples stay as they are.
    """
    while True:
        try:
            with progress_bar(label) as progress:
                return engine.generate(requests, progress)
        except (MemoryError, RuntimeError) as wrong:
            if not is_out_of_memory(wrong) or engine.memory_share < 1e-3 or engine.decoder.sharded:
                raise
        except FloatingPointError as wrong:
            raise Diverged(f"{label}: {wrong}") from wrong
        finally:
            engine.release()
        engine.memory_share /= 2
        log.warning(
            "out of memory: sampling goes on with %.3g of the free memory", engine.memory_share
        )


def _write(path: Path, batch: RolloutBatch) -> None:
    tensors = {name: tensor.cpu() for name, tensor in _tensors(batch).items()}
    write_state(path, tensors, {"finish_reason": batch.finish_reason})


def _read(path: Path) -> RolloutBatch | None:
    """None where there is none, or a damaged one, which is removed."""
    try:
        tensors, state = read_state(path)
        return RolloutBatch(**tensors, **state)
    except (OSError, ValueError, SafetensorError):
        shutil.rmtree(path, ignore_errors=True)
        return None
