"""README.md of what a run hands over: how to load and sample it, and what it was measured at."""

from __future__ import annotations

import json
from pathlib import Path

from dftfast.evaluation.report.curves import phases
from dftfast.pipeline.ending import rows, sentence
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_dft import dft_sampler
from dftfast.runtime.files import atomic_file
from dftfast.runtime.version import __version__


def write_cards(run: Run) -> None:
    """Beside `merged/` and, where there is one, `adapter/`, from results.json of the run."""
    for folder in ("merged", "adapter"):
        if (run.path / folder).is_dir():
            with atomic_file(run.path / folder / "README.md") as temporary:
                temporary.write_text(card(run, folder), encoding="utf-8")


def card(run: Run, folder: str) -> str:
    """The card of the merged model or of its adapter, in the form of the Hugging Face hub."""
    results = json.loads((run.path / "results.json").read_text(encoding="utf-8"))
    c, sampler = run.config, dft_sampler(run)
    base, head = base_of(c.model.name)
    head.append("library_name: " + ("peft" if folder == "adapter" else "transformers"))
    cut = f", min-p {sampler.min_p:g}" if sampler.min_p else ""
    prompt = "as the base's chat template renders it" + (
        ", without thinking" if "</think>" in (run.tokenizer.chat_template or "") else ""
    )
    lines = [
        "---",
        *head,
        "tags: [dftfast]",
        "---",
        "",
        f"# {base}, fine-tuned towards the distribution of a corpus",
        "",
        f"Made by dftfast {__version__}: supervised fine-tuning on "
        f"{len(run.split.train[: run.max_texts]):,} texts, then {_phases(run)}.",
        "",
        "## Use",
        "",
        *_use(run, folder, cut),
        f"The prompt is the user's message {prompt}.",
        "",
        "## Measured",
        "",
        f"{sentence(results)} On {results.get('about', {}).get('prompts', len(run.held_out))} "
        "held-out prompts, less is better:",
        "",
        "```",
        *rows(results),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _phases(run: Run) -> str:
    records = phases(run.path / "dft" / "phases.json")
    kept = sum(record["kept"] for record in records if record["phase"])
    many = {0: "no phase", 1: "one phase"}.get(kept, f"{kept} phases")
    return f"{many} of distribution fine-tuning" + ("" if kept else " that helped")


def base_of(name: str | None) -> tuple[str, list[str]]:
    """What the card calls the base, and what of it the hub is told.

    The hub refuses a `base_model` that is no id of its own, and a path is nobody's business.
    """
    if name is None:
        name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    elif Path(name).expanduser().is_dir():
        return Path(name).expanduser().absolute().name, []
    return name, ["base_model: " + json.dumps(name)]


def _use(run: Run, folder: str, cut: str) -> list[str]:
    """The sampler, and how a common tool gets it."""
    if folder == "merged":
        return [
            f"Sample at temperature 1, top-p 1, top-k off{cut}: generation_config.json "
            "says so, and transformers and vLLM take it from there. Other settings are other "
            "distributions than the one measured below.",
            "",
            "```",
            "vllm serve FOLDER --served-model-name writer",
            "```",
            "",
        ]
    path = run.path / "adapter" / "generation_config.json"
    temperature = json.loads(path.read_text(encoding="utf-8"))["temperature"]
    rank = json.loads((path.parent / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    return [
        f"All adapters of the run as one, of rank {rank}. Sample at temperature {temperature:g}, "
        f"top-p 1, top-k off{cut}: the merged model has this temperature in its final norm, which "
        "an adapter cannot change, and no tool takes a sampler from an adapter.",
        "",
        "```",
        f"vllm serve BASE --enable-lora --max-lora-rank {vllm_rank(rank)} "
        "--lora-modules writer=FOLDER",
        "```",
        "",
    ]


def vllm_rank(rank: int) -> int:
    """The least of the ranks that vLLM makes room for."""
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if rank <= known), rank)
