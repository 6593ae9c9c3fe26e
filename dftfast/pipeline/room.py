"""Memory and disk against what a run will take, before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from dftfast.model.config import ModelConfig
from dftfast.model.device import pick_dtype
from dftfast.model.weights import stored_dtype
from dftfast.optimise.distributed import world_size
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_sft import variants
from dftfast.rollout.free_memory import free_memory
from dftfast.rollout.memory import (
    GIB,
    MemoryPlan,
    RunShape,
    num_adapter_weights,
    num_weights,
    plan_memory,
)
from dftfast.runtime.errors import UserError

MASTERS = 16  # bytes a weight that is trained itself takes: fp32 master, gradient, two moments


def memory_plan(run: Run) -> MemoryPlan:
    """Of the stage that takes most, on one device, with a cache for a single text at least."""
    c, config = run.config, ModelConfig.from_folder(run.model_folder)
    dtype, cpu = pick_dtype(c.model.dtype, run.device), run.device.type == "cpu"
    rank = max(c.sft.rank, c.dft.rank)
    tokens = max(c.sft.micro_tokens, c.dft.micro_tokens)
    shape = RunShape(
        rank, 1, config.max_position_embeddings, tokens, c.run.activation_checkpointing == 1
    )
    return plan_memory(
        config,
        shape,
        cpu=cpu,
        nf4=c.model.quantization == "nf4",
        fp8=c.rollout.precision == "fp8",
        dtype=dtype,
        capacity=free_memory(run.device),
    )


def needed_memory(run: Run) -> int:
    """Bytes on one device; a whole fine-tuning keeps masters and moments of all weights."""
    plan, c = memory_plan(run), run.config
    weights = plan.weights // (world_size() if c.run.shard else 1)
    lora = plan.peak - plan.weights + weights
    if "full" not in c.sft.method:
        return lora
    trained = num_weights(ModelConfig.from_folder(run.model_folder)) * MASTERS
    return max(lora, plan.weights + trained + plan.activations)


def needed_disk(run: Run) -> int:
    """Bytes that the run will write: models, adapters with the optimiser's state, no texts."""
    c, config = run.config, ModelConfig.from_folder(run.model_folder)
    model = num_weights(config) * stored_dtype(run.model_folder).itemsize
    methods = [variant.method for variant in variants(run).values()]
    sft = num_adapter_weights(config, c.sft.rank) * 4
    phase = num_adapter_weights(config, c.dft.rank) * 4
    full = methods.count("full")
    kept = (1 + full) * model + methods.count("lora") * sft + c.dft.phases * phase
    checkpoint = num_weights(config) * 12 if full else 3 * max(sft, phase)
    return kept + sft + c.dft.phases * phase + 2 * checkpoint  # the adapters once more, as one


def check_room(run: Run) -> None:
    """Raise UserError where the run cannot fit the device or the disk.

    Both are least figures: a run that is let through can still be short.
    """
    needed, free = needed_memory(run), free_memory(run.device)
    if needed > free:
        plan = memory_plan(run)
        raise UserError(
            f"{run.device}: the run needs {needed / GIB:.1f} GiB ({plan}) and {free / GIB:.1f} GiB "
            f"are free; {_cure(run)}"
        )
    needed, free = needed_disk(run), shutil.disk_usage(existing_folder(run.path)).free
    if needed > free:
        raise UserError(
            f"run.folder: the run will write about {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB "
            f"are free at {run.path}; name another folder, or fine-tune fewer variants"
        )


def _cure(run: Run) -> str:
    c, ways = run.config, []
    if "full" in c.sft.method:
        ways.append("sft.method=lora")
    if c.run.activation_checkpointing < 1:
        ways.append("run.activation_checkpointing=1")
    if max(c.sft.micro_tokens, c.dft.micro_tokens) > 1024:
        ways.append("smaller sft.micro_tokens and dft.micro_tokens")
    if c.model.quantization == "none" and run.device.type == "cuda":
        ways.append("model.quantization=nf4")
    if c.model.dtype == "float32" or pick_dtype(c.model.dtype, run.device) == torch.float32:
        ways.append("model.dtype=bfloat16")
    return f"try {', '.join(ways)} or a smaller model" if ways else "take a smaller model"


def existing_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(folder for folder in [path, *path.parents] if folder.exists())
