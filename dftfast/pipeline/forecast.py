"""What a run will take, from its sizes and the speed that was measured here."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass

from dftfast.config import load_config
from dftfast.pipeline.banner import banner, stage_work
from dftfast.pipeline.dial import Choice, Supply, choose
from dftfast.pipeline.pace import Work, minutes_text
from dftfast.pipeline.report_cost import report_seconds
from dftfast.pipeline.room import existing_folder, needed_disk, needed_memory
from dftfast.pipeline.run import Run
from dftfast.pipeline.speed import Speed, measure_speed
from dftfast.pipeline.stage_sft import texts_trained
from dftfast.pipeline.stage_sweep import ROUNDS, answers_needed, settings_left
from dftfast.rollout.free_memory import free_memory
from dftfast.rollout.memory import GIB
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)
LENGTHS = 256  # documents that mean lengths are of
LOADING = 20.0  # seconds: models, packing, files


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt and of a text with its end token."""

    prompt: float
    text: float

    def seconds(self, work: Work, speed: Speed) -> float:
        """For texts that are trained on or credited, and texts that are sampled and embedded."""
        trained = (self.prompt + self.text) / speed.trained
        return work.seconds(trained, self.text / speed.sampled + 1 / speed.embedded)


def lengths_of(run: Run) -> Lengths:
    examples = run.examples(run.split.train[:LENGTHS])
    mean = lambda sizes: sum(sizes) / len(examples)
    return Lengths(
        mean([len(e.prompt) for e in examples]), mean([len(e.completion) for e in examples])
    )


def dialled(run: Run) -> Run:
    """The run with the sizes that fill `run.minutes`, if they are asked for.

    A run that was begun with as many minutes keeps the sizes that were chosen then.
    """
    c = run.config
    if c.run.minutes is None:
        return run
    try:
        before = load_config(files=[run.path / "config.yaml"])
    except UserError:  # no run there, or not one of this version
        before = None
    if before is not None and before.run.minutes == c.run.minutes:
        chosen = Choice.of(before)
    else:
        speed, lengths = measure_speed(run), lengths_of(run)
        split = run.split
        supply = Supply(
            *(len(split.train), len(split.validation), len(split.held_out)),
            trained=lengths.seconds(Work(trained=1), speed),
            sampled=lengths.seconds(Work(sampled=1), speed),
            variants=texts_trained(run),
            samplers=settings_left(run),
            draws=c.evaluation.draws,
            rounds=c.evaluation.rounds,
            fixed=LOADING + race_seconds(run, lengths, speed),
        )
        chosen = choose(c.run.minutes, supply)
        log.info("sizes for %s chosen", minutes_text(chosen.seconds(supply)))
    return run.with_config(chosen.into(c))


def race_seconds(run: Run, lengths: Lengths, speed: Speed) -> float:
    """Seconds of a race: its answers, and measuring those of every setting."""
    race = run.config.sweep.race
    if not race:
        return 0.0
    answers = answers_needed(run, 0)
    prompts = min(race, len(run.split.validation))
    measured = report_seconds(prompts, answers // prompts, ROUNDS)
    return lengths.seconds(Work(sampled=answers), speed) + measured


def measuring_seconds(run: Run) -> float:
    """Seconds of the report, beside those of embedding its answers."""
    c = run.config
    systems = settings_left(run) + 1 + len(c.baselines.methods)
    prompts = len(run.held_out[: c.sweep.prompts])
    return report_seconds(prompts, systems * c.evaluation.draws, c.evaluation.rounds)


def plan_text(run: Run) -> str:
    """The plan of a run, measured and not begun: work and time of its stages, memory and disk."""
    speed, lengths = measure_speed(run), lengths_of(run)
    rows = [f"  {'':<10}{'texts':>10}{'tokens':>12}{'samples':>10}{'tokens':>12}{'time':>14}"]
    total = 0.0
    for stage, work in stage_work(run).items():
        seconds = lengths.seconds(work, speed)
        total += seconds
        if not any(work):
            continue
        trained = work.trained * (lengths.prompt + lengths.text)
        cells = (work.trained, trained, work.sampled, work.sampled * lengths.text)
        numbers = "".join(f"{cell:>{width},.0f}" for cell, width in zip(cells, (10, 12, 10, 12)))
        rows.append(f"  {stage:<10}{numbers}{minutes_text(seconds):>14}")
    measuring = measuring_seconds(run)
    rows.append(f"  {'report':<54}{minutes_text(measuring):>14}")
    rows.append(f"  {'all':<54}{minutes_text(total + measuring):>14}")
    memory, disk = needed_memory(run) / GIB, needed_disk(run) / GIB
    free = free_memory(run.device) / GIB
    left = shutil.disk_usage(existing_folder(run.path)).free / GIB
    return "\n".join(
        [
            banner(run),
            "",
            *rows,
            "",
            f"  memory    at least {memory:.1f} of {free:.1f} GiB",
            f"  disk      about {disk:.1f} of {left:.1f} GiB",
            f"  measured  {speed.trained:,.0f} tokens a second trained, "
            f"{speed.sampled:,.0f} sampled",
            f"            {speed.embedded:,.0f} texts a second embedded",
            "  Nothing was written.",
        ]
    )
