"""Variants of DFT from one fine-tuned model: what each ingredient is worth in validation.

    python benchmarks/experiments/ablate.py RUN VARIANTS.yaml

RUN is a run folder whose sft stage is done; VARIANTS maps a name to keys of the `dft` section. Each
variant starts from the same model and is kept in RUN/ablations/NAME; started again, those that are
done are only shown. What several sample from the same policy is sampled once, so the minutes of the
first hold the sampling of the others.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import yaml

from dftfast.config import load_config
from dftfast.dft.loop import run_phases
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import METHODS, phase_context
from dftfast.runtime.files import write_json

HEAD = (
    "| variant | score | MMD² | lexical MMD² | n-gram L2² | style MMD² | length | tokens a text "
    "| nats a token | minutes |\n" + "|---" * 10 + "|"
)


def main(run: str, variants: str) -> None:
    print(HEAD)
    for name, keys in yaml.safe_load(Path(variants).read_text(encoding="utf-8")).items():
        overrides = [
            ("run.folder", run),
            *((f"dft.{key}", str(value)) for key, value in keys.items()),
        ]
        job = Run(load_config(files=[f"{run}/config.yaml"], overrides=overrides))
        start, folder = time.monotonic(), job.path / "ablations" / name
        records = run_phases(phase_context(job, folder), METHODS[job.config.dft.method])
        minutes = folder / "minutes.json"
        if not minutes.exists():
            write_json(minutes, (time.monotonic() - start) / 60)
        for record in records:
            t, h = record.get("validation"), record.get("collapse")
            figures = [record["score"], *t.values(), h["length"], h["entropy"]] if t else []
            row = " | ".join(f"{figure:.5f}" for figure in figures) or "given up: " + "; ".join(
                record["dropped"]
            )
            print(
                f"| {name}, phase {record['phase']} | {row} | {float(minutes.read_text()):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
