"""What a checkpoint costs the training loop: SmolLM2-135M, LoRA of rank 32."""

from __future__ import annotations

import statistics
from functools import partial

from paired import seconds
from training_steps import Ours, documents

from dftfast.optimise.checkpoint import LARGEST_SHARE, Checkpoints

INTERVAL = 60  # run.checkpoint_seconds


def test_checkpoint(benchmark, tmp_path):
    """The loop is held up while the state is copied.

    The writer, which works beside it, is counted as if it held it up too. `share` is of the default
    interval.
    """
    ours = Ours(rank=32)
    ours.step(documents(100))
    checkpoints, held, whole = Checkpoints(tmp_path, steps=1), [], []
    for step in range(1, 8):
        held.append(seconds(partial(checkpoints.offer, step, ours.optimiser.tensors, {})))
        checkpoints.wait()
        whole.append(checkpoints.cost)
    size = sum(tensor.nbytes for tensor in ours.optimiser.tensors().values())
    benchmark.extra_info.update(
        mib=round(size / 2**20),
        held_up_ms=round(1e3 * statistics.median(held)),
        whole_ms=round(1e3 * statistics.median(whole)),
        share=round(statistics.median(whole) / INTERVAL, 5),
        limit=LARGEST_SHARE,
    )
    benchmark.pedantic(lambda: None, rounds=1)
