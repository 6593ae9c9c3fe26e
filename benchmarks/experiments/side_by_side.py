"""An experiment with its parts side by side, for a card that one process cannot keep busy.

    python benchmarks/experiments/side_by_side.py CONFIG TRAIN HELD_OUT OUT \
        [--seeds 3] [--workers 6] [--seconds 420] [--section.key=value ...]

Every model is fine-tuned in a process of its own; then come the phases of each seed and, behind
them, the sweep of every model. OUT/fine-tuned/NAME and OUT/seed-K are run folders, OUT/logs has
what each process says. Started again after `--seconds`, or a failure, it goes on;
`python -m dftfast.train --out OUT/seed-K` with the same configuration makes the report.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import dftfast.pipeline.run as pipeline_run
from dftfast.config import Config, load_config
from dftfast.model.pretrained import resolve_embedder
from dftfast.pipeline import Run
from dftfast.pipeline.stage_sft import variant_folder, variants
from dftfast.pipeline.stages import check_input, run_stages, stages, take_folder
from dftfast.runtime.files import write_json

Part = tuple[str, Config, str]  # name, configuration, stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("config", "train", "held_out", "out"):
        parser.add_argument(name)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=6, help="processes at a time (default %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="stop then, whatever is done"
    )
    o, keys = parser.parse_known_args()
    given = [tuple(key.removeprefix("--").split("=", 1)) for key in keys]
    end, out = time.time() + o.seconds, Path(o.out)
    threads = max((os.cpu_count() or 1) // o.workers, 1)

    def config(folder: Path, *overrides: tuple[str, str]) -> Config:
        own = [
            ("run.folder", str(folder)),
            ("data.train", o.train),
            ("data.held_out", o.held_out),
            ("run.threads", str(threads)),
        ]
        return load_config(files=[o.config], overrides=[*own, *given, *overrides])

    seeds = [config(out / f"seed-{k}", ("dft.seed", str(k))) for k in range(o.seeds)]
    first = Run(seeds[0])
    check_input(first)
    resolve_embedder(first.config.evaluation.embedder)  # fetched once, not by each
    alone = {
        name: config(
            out / "fine-tuned" / name,
            ("sft.method", method),
            ("sft.learning_rates", f"{rate:g}"),
            ("sft.full_learning_rates", f"{rate:g}"),
            ("sft.fractions", f"{share:g}"),
            ("sft.epochs", f"{epochs}"),
        )
        for name, (method, rate, share, epochs) in variants(first).items()
    }
    side_by_side([(f"sft {name}", c, "sft") for name, c in alone.items()], out, o.workers, end)
    for c in seeds:
        run_stage(c, "sft", functools.partial(collect_models, alone))
    phases = [(f"dft {k}", c, "dft") for k, c in enumerate(seeds)]
    sweeps = [(f"sweep {name}", c, "sweep") for name, c in alone.items()]
    side_by_side(phases + sweeps, out, o.workers, end)
    for c in seeds:
        run_stage(c, "sweep", functools.partial(collect_answers, alone))


def side_by_side(parts: list[Part], out: Path, workers: int, end: float) -> None:
    """Run them in this order, so many at a time; exit with 1 where one failed or time is over."""
    waiting, running, failed = list(parts), {}, []
    context = multiprocessing.get_context("spawn")
    while waiting or running:
        while waiting and len(running) < workers:
            part = waiting.pop(0)
            running[part[0]] = process = context.Process(target=run_part, args=(part, out, workers))
            process.start()
        time.sleep(0.2)
        for name in [name for name, process in running.items() if not process.is_alive()]:
            code = running.pop(name).exitcode
            print(f"{name}: {'done' if code == 0 else f'failed, see {out}/logs'}", flush=True)
            failed += [name] * (code != 0)
        if time.time() > end:
            for process in running.values():
                process.terminate()
            left = ", ".join([*running, *(part[0] for part in waiting)])
            sys.exit(f"stopped after the time given: {left} to go")
    if failed:
        sys.exit(1)


def run_part(part: Part, out: Path, workers: int) -> None:
    name, config, stage = part
    log = out / "logs" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # each takes its share of the memory that it finds free
    pipeline_run.RolloutEngine.memory_share = 0.5 / workers
    run_stage(config, stage)


def run_stage(config: Config, stage: str, instead: Callable[[Run], None] | None = None) -> None:
    """One stage of a run in its folder, where it is not done.

    `instead` is other work with the same outputs.
    """
    run = Run(config)
    (found,) = [each for each in stages(config) if each.name == stage]
    with ExitStack() as stack:
        take_folder(run, stack)
        run_stages(run, [found._replace(work=instead or found.work)])


def collect_models(alone: dict[str, Config], run: Run) -> None:
    """Copy every fine-tuned model into the run's folder."""
    found: dict[str, dict] = {}
    for name, c in alone.items():
        folder = Path(c.run.folder, "sft")
        found |= json.loads((folder / "results.json").read_text(encoding="utf-8"))
        shutil.copytree(variant_folder(Run(c), name), variant_folder(run, name), dirs_exist_ok=True)
    write_json(run.path / "sft" / "results.json", found)


def collect_answers(alone: dict[str, Config], run: Run) -> None:
    """Copy the sweep of every model into the run's folder."""
    for c in alone.values():
        shutil.copytree(
            Path(c.run.folder, "generations", "sft"),
            run.path / "generations" / "sft",
            dirs_exist_ok=True,
        )


if __name__ == "__main__":
    main()
