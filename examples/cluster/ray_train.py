"""A run on the workers of a Ray cluster: pip install 'ray[train]', then

    python examples/cluster/ray_train.py 12 --preset qwen3-8b --data /shared/corpus.jsonl \
        --out /shared/runs/mine

on 12 GPUs (or CPU workers where the cluster has no GPU). The run's folder has to be on a file
system that all nodes share. Ray starts the processes and sets torch's process group up; the run's
own checkpoints let the same command go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def worker(options: dict) -> None:
    """What every worker runs."""
    from dftfast import train
    from dftfast.config import parse_command_line

    train(parse_command_line(options["arguments"]))


def main(workers: int, arguments: Sequence[str]) -> None:
    import ray  # pyright: ignore[reportMissingImports]
    from ray.train import ScalingConfig  # pyright: ignore[reportMissingImports]
    from ray.train.torch import TorchConfig, TorchTrainer  # pyright: ignore[reportMissingImports]

    ray.init(ignore_reinit_error=True)
    gpus = ray.cluster_resources().get("GPU", 0) > 0
    trainer = TorchTrainer(
        worker,
        train_loop_config={"arguments": list(arguments)},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
    )
    trainer.fit()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(int(sys.argv[1]), sys.argv[2:])
