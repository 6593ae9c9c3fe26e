"""Rollouts that are not sampled again: made in parts, each kept on disk until its stage is done."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from ..errors import Diverged
from ..model.device import is_out_of_memory
from ..rollout import Request, RolloutBatch, RolloutEngine
from .checkpoint import read_state, write_state
from .log import progress_bar
from .run_folder import digest

log = logging.getLogger(__name__)

WAVES = 16  # samples of a part, for each that the engine runs at once: its last few run with less company


def generate(engine: RolloutEngine, requests: list[Request], folder: Path, what: str) -> list[RolloutBatch]:
    """Answer the requests with the policy as it stands, in parts; those in ``folder`` are read instead.

    A part does not depend on the others, so the result is the same wherever the process was stopped. ``what`` names
    the rollout and with it the state of the policy, which is not compared.
    """
    size = WAVES * engine.max_sequences
    batches = []
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        path = folder / f"{digest(what, part)}-{start}"
        try:
            batches.append(_read(path))
        except (OSError, ValueError, SafetensorError):  # none there, or damaged
            shutil.rmtree(path, ignore_errors=True)
            batches.append(_generate(engine, part, what))
            _write(path, batches[-1])
    return batches


def _generate(engine: RolloutEngine, requests: list[Request], what: str) -> RolloutBatch:
    """Halve the cache as often as memory runs out: random numbers belong to requests, so the samples stay."""
    while True:
        try:
            with progress_bar(what) as progress:
                return engine.generate(requests, progress)
        except (MemoryError, RuntimeError) as wrong:
            if not is_out_of_memory(wrong) or engine.memory_share < 1e-3:
                raise
        except FloatingPointError as wrong:
            raise Diverged(f"{what}: {wrong}") from wrong
        finally:
            engine.release()
        engine.memory_share /= 2
        log.warning("out of memory: sampling goes on with %.3g of the free memory", engine.memory_share)


def _write(path: Path, batch: RolloutBatch) -> None:
    tensors = {name: value.cpu() for name, value in vars(batch).items() if isinstance(value, Tensor)}
    write_state(path, tensors, {"finish_reason": batch.finish_reason})


def _read(path: Path) -> RolloutBatch:
    tensors, state = read_state(path)
    return RolloutBatch(**tensors, **state)
