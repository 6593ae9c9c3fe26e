"""An experiment with its parts side by side, for a card that one process cannot keep busy.

    python benchmarks/experiments/side_by_side.py CONFIG TRAIN HELD_OUT OUT [--seeds 3] [--workers 6] [--seconds 420] \
        [--section.key=value ...]

Every model is fine-tuned in a process of its own; then come the phases of each seed and, behind them, the sweep of every model.
OUT/seed-K are run folders, OUT/logs has what each process says. Started again after ``--seconds``, or a failure, it goes on;
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
from pathlib import Path

import dftfast.pipeline.run as pipeline_run
from dftfast.config import Config, load_config
from dftfast.model.pretrained import resolve_embedder
from dftfast.pipeline import Run
from dftfast.pipeline.dft import dft
from dftfast.pipeline.sft import fine_tune, fine_tuned, variants
from dftfast.pipeline.stages import check_input, inputs_of, stages
from dftfast.pipeline.sweep import sweep_files
from dftfast.training.run_folder import write_json

Part = tuple[str, Callable, Config, str]  # name, work, configuration, variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("config", "train", "held_out", "out"):
        parser.add_argument(name)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=6, help="processes at a time (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then, whatever is done")
    o, keys = parser.parse_known_args()
    given = [tuple(key.removeprefix("--").split("=", 1)) for key in keys]
    end, out = time.time() + o.seconds, Path(o.out)
    threads = max((os.cpu_count() or 1) // o.workers, 1)

    def config(folder: Path, *overrides: tuple[str, str]) -> Config:
        own = [("run.folder", str(folder)), ("data.train", o.train), ("data.held_out", o.held_out), ("run.threads", str(threads))]
        return load_config(files=[o.config], overrides=[*own, *given, *overrides])

    seeds = [config(out / f"seed-{k}", ("dft.seed", str(k))) for k in range(o.seeds)]
    first = Run(seeds[0])
    check_input(first)
    resolve_embedder(first.config.evaluation.embedder)  # fetched once, not by each
    alone = {
        name: config(out / "fine-tuned" / name, ("sft.method", method), ("sft.learning_rates", f"{rate:g}"),
                     ("sft.full_learning_rates", f"{rate:g}"), ("sft.fractions", f"{share:g}"))
        for name, (method, rate, share) in variants(first).items()
    }  # fmt: skip
    side_by_side([(f"sft {name}", tune, c, name) for name, c in alone.items() if not done(c, "sft")], out, o.workers, end)
    collect(alone, seeds)
    phases = [(f"dft {k}", learn, c, "") for k, c in enumerate(seeds) if not done(c, "dft")]
    sweeps = [(f"sweep {name}", ask, seeds[0], name) for name in alone]
    side_by_side(phases + sweeps, out, o.workers, end)
    for c in seeds:
        if c is not seeds[0]:
            answers = Path("generations", "sft")
            shutil.copytree(Path(seeds[0].run.folder, answers), Path(c.run.folder, answers), dirs_exist_ok=True)
        record(c, "sweep")


def side_by_side(parts: list[Part], out: Path, workers: int, end: float) -> None:
    """Run them in this order, so many at a time; exits with 1 where one failed or the time is over."""
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
            sys.exit(f"stopped after the time given: {', '.join([*running, *(part[0] for part in waiting)])} to go")
    if failed:
        sys.exit(1)


def run_part(part: Part, out: Path, workers: int) -> None:
    name, work, config, variant = part
    log = out / "logs" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # each takes its share of the memory that it finds free
    pipeline_run.RolloutEngine = functools.partial(pipeline_run.RolloutEngine, memory_share=0.5 / workers)
    Path(config.run.folder).mkdir(parents=True, exist_ok=True)
    work(Run(config), variant)


def tune(run: Run, name: str) -> None:
    fine_tune(run)
    record(run.config, "sft")


def learn(run: Run, _: str) -> None:
    dft(run)
    record(run.config, "dft")


def ask(run: Run, name: str) -> None:
    files = sweep_files(run, name)
    if not all(path.exists() for path in files):
        run.answer(run.engine(fine_tuned(run, name)), run.held_out[: run.config.sweep.prompts], files, f"sweep/{name}")


def collect(alone: dict[str, Config], seeds: list[Config]) -> None:
    """Put every fine-tuned model into the folder of every seed."""
    found: dict[str, dict] = {}
    for c in alone.values():
        found |= json.loads((Path(c.run.folder) / "sft" / "results.json").read_text(encoding="utf-8"))
    for c in seeds:
        folder = Path(c.run.folder) / "sft"
        folder.mkdir(parents=True, exist_ok=True)
        for name, own in alone.items():
            shutil.copytree(Path(own.run.folder) / "sft" / name, folder / name, dirs_exist_ok=True)
        write_json(folder / "results.json", found)
        record(c, "sft")


def digests(c: Config) -> dict[str, str]:
    return {name: inputs_of(depends_on) for name, depends_on, _, _ in stages(c)}


def record(c: Config, stage: str) -> None:
    """Note in the run folder that a stage is done."""
    file = Path(c.run.folder) / "stages.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    write_json(file, before | {stage: digests(c)[stage]})


def done(c: Config, stage: str) -> bool:
    file = Path(c.run.folder) / "stages.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8")).get(stage) == digests(c)[stage]


if __name__ == "__main__":
    main()
