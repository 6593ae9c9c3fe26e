"""What a run is about to do, said before it starts: what is used of what, and by which key."""

from __future__ import annotations

import platform

from dftfast.model.device import pick_dtype
from dftfast.optimise.distributed import world_size
from dftfast.pipeline.environment import processor
from dftfast.pipeline.pace import Work
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_sft import texts_trained
from dftfast.pipeline.stage_sweep import answers_needed, samplers
from dftfast.runtime.version import __version__

WIDTH = 80


def banner(run: Run) -> str:
    """At most ten lines of 80 columns."""
    c, split = run.config, run.split
    parts = {"training": split.train, "validation": split.validation, "held-out": split.held_out}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    rates = ", ".join(f"{rate:g}" for rate in c.sft.learning_rates)
    texts = len(split.train[: run.max_texts])
    prompts = len(run.held_out[: c.sweep.prompts])
    limit = "evaluation.prompts" if prompts == len(run.held_out) else "sweep.prompts"
    dtype = str(pick_dtype(c.model.dtype, run.device)).removeprefix("torch.")
    rows = [
        ("model", f"{c.model.name or 'SmolLM2-135M-Instruct'}, {dtype}, on {_machine(run)}"),
        ("corpus", f"{', '.join(c.data.train) or 'docstrings (the default)'}: {sizes}"),
        (
            "sft",
            f"{' and '.join(c.sft.method)} at {rates}: "
            f"{_used(texts, len(split.train), 'training texts', 'sft.max_texts')}",
        ),
        (
            "sweep",
            f"{_samplers(run)}"
            f"{_used(prompts, len(split.held_out), 'held-out prompts', limit)}, "
            f"{c.evaluation.draws} draw{'s' * (c.evaluation.draws > 1)}",
        ),
        (
            "dft",
            f"up to {c.dft.phases} phase{'s' * (c.dft.phases > 1)} of "
            f"{min(c.dft.prompts, len(split.train)):,} prompts x {c.dft.candidates} candidates",
        ),
        ("", _used(len(run.validation), len(split.validation), "validation prompts answered")),
        *([("time", f"sizes chosen for {c.run.minutes:g} minutes")] if c.run.minutes else []),
        ("folder", str(run.path)),
    ]
    head = f"dftfast {__version__}"
    return "\n".join([head, *(_fitted(f"  {name:<8}{text}") for name, text in rows)])


def stage_work(run: Run) -> dict[str, Work]:
    """What each stage trains on and samples, for the time that is left."""
    c, split = run.config, run.split
    texts, prompts = len(split.train[: run.max_texts]), len(run.held_out[: c.sweep.prompts])
    phase = min(c.dft.prompts, len(split.train))
    candidates = c.dft.phases * phase * c.dft.candidates
    dft = Work(
        credited=candidates,
        sampled=candidates
        + (c.dft.phases + 1) * len(run.validation)
        + len(run.held_out) * c.evaluation.draws,
    )
    methods = len(c.baselines.methods)
    return {
        "sft": Work(trained=texts * texts_trained(run)),
        "sweep": Work(sampled=answers_needed(run, prompts)),
        "dft": dft,
        "baselines": Work(methods * candidates, methods * dft.sampled),
    }


def _samplers(run: Run) -> str:
    race = run.config.sweep.race
    start = f"a race on {race:,} validation prompts, then " if race else ""
    return f"{len(samplers(run))} samplers: {start}"


def _used(used: int, there: int, name: str, key: str = "") -> str:
    """How many of what is there: "480 of 4,200 training texts (sft.max_texts)"."""
    if used == there:
        return f"all {there:,} {name}"
    return f"{used:,} of {there:,} {name}" + (f" ({key})" if key else "")


def _machine(run: Run) -> str:
    import torch

    several = f", {world_size()} processes" if world_size() > 1 else ""
    if run.device.type == "cuda":
        return torch.cuda.get_device_name(run.device) + several
    name = processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name} ({threads} thread{'s' * (threads != 1)}){several}"


def _fitted(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
