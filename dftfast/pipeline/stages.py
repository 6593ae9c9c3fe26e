"""The stages of the main job, one after the other.

Each leaves its output in the run folder and is skipped when that output is there and everything
that it depends on is unchanged.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from tqdm.contrib.logging import logging_redirect_tqdm

from dftfast.config import Config, load_config
from dftfast.evaluation.judge.make import check_judge
from dftfast.model.embedder import check_embedder
from dftfast.model.nf4 import check_bitsandbytes
from dftfast.model.weights import check_model
from dftfast.optimise.distributed import on_rank0, rank, world_size
from dftfast.optimise.tracker import pick_tracker
from dftfast.pipeline.banner import banner, stage_work
from dftfast.pipeline.ending import ending
from dftfast.pipeline.environment import environment
from dftfast.pipeline.forecast import dialled, plan_text
from dftfast.pipeline.heap import keep_heap
from dftfast.pipeline.match_groups import check_groups
from dftfast.pipeline.model_card import write_cards
from dftfast.pipeline.pace import Pace, minutes_text
from dftfast.pipeline.room import check_room
from dftfast.pipeline.run import Run
from dftfast.pipeline.run_folder import RunFolder
from dftfast.pipeline.run_target import check_target
from dftfast.pipeline.stage_baselines import baselines
from dftfast.pipeline.stage_dft import dft, dft_sampler
from dftfast.pipeline.stage_report import report
from dftfast.pipeline.stage_sft import fine_tune
from dftfast.pipeline.stage_sweep import sweep, views
from dftfast.rollout.fp8 import check_card
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file, digest, write_json
from dftfast.runtime.profile import profiling
from dftfast.runtime.signals import stop_on_signals

log = logging.getLogger(__name__)


class Stage(NamedTuple):
    name: str
    depends_on: tuple
    outputs: list[str]
    work: Callable[[Run], None]
    extent: str | None = None  # how far it goes, of work that can go on from less


def run_pipeline(config: Config) -> Path:
    """Every stage that is not done yet, in order; the run's folder."""
    run = Run(on_rank0(lambda: dated(config)))
    on_rank0(lambda: check_input(run))
    run = run.with_config(on_rank0(lambda: dialled(run).config))
    config = run.config
    with stop_on_signals(), logging_redirect_tqdm(), ExitStack() as stack:
        on_rank0(lambda: take_folder(run, stack))
        if run.device.type == "cpu":
            keep_heap()
        if rank() == 0:
            log.info("%s", banner(run))
        if config.run.profile and rank() == 0:
            with profiling(run.path / "profile") as profile:
                run_stages(run, stages(config))
            log.info("%s", profile.table())
        else:
            run_stages(run, stages(config))
    if rank() == 0:
        print(ending(run, dft_sampler(run)))
    return run.path


def plan_pipeline(config: Config) -> str:
    """What the run would do and take; it is checked and measured, and nothing is written."""
    run = Run(dated(config))
    check_input(run)
    return plan_text(dialled(run))


def dated(config: Config) -> Config:
    """With the day that prompts show: a run that goes on tomorrow has the prompts of today."""
    if config.model.date is not None:
        return config
    try:
        before = load_config(files=[Path(config.run.folder) / "config.yaml"]).model.date
    except UserError:  # no run there, or not one of this version
        before = None
    day = {"date": before or datetime.date.today()}
    return config.model_copy(update={"model": config.model.model_copy(update=day)})


def stages(c: Config) -> list[Stage]:
    tuned = (c.model, c.data, c.sft, c.run.seed)
    sampled = (*tuned, c.sweep, c.rollout, c.evaluation.prompts)
    # what was done stays done in another time, and with more phases
    one_phase = c.dft.model_copy(update={"phases": 1})
    embedders = (c.evaluation.embedder, c.evaluation.unseen_embedder)  # the views of validation
    trained = (*tuned, c.rollout, one_phase, c.evaluation.prompts, *embedders)
    others = (*trained, c.dft.phases, c.baselines)
    draws = str(c.evaluation.draws)
    # answers stay, but with another embedder others of them may be the best
    raced = f"{draws} {digest(views(c))}" if c.sweep.race else draws
    of_dft = ["dft", "merged", "generations/dft.jsonl"]
    of_others = ["baselines", "generations/baselines"]
    return [
        Stage("sft", tuned, ["sft"], fine_tune),
        Stage("sweep", sampled, ["generations/sft"], sweep, raced),
        Stage("dft", trained, of_dft, dft, f"{c.dft.phases} {draws}"),
        *([Stage("baselines", others, of_others, baselines, draws)] if c.baselines.methods else []),
        Stage(
            "report",
            (*sampled, *others, c.evaluation, c.judge),
            ["results.json", "report.html"],
            measure,
        ),
    ]


def measure(run: Run) -> None:
    unjudged = report(run)
    on_rank0(lambda: write_cards(run))
    if unjudged:
        raise unjudged


def check_input(run: Run) -> None:
    """Bad input is refused before anything is written; bad data before a model is fetched."""
    c = run.config
    if c.run.shard and world_size() == 1:
        raise UserError("run.shard: there is one process; start several with torchrun")
    if c.run.shard and "full" in c.sft.method:
        raise UserError(
            "run.shard: full fine-tuning (sft.method) needs all weights on every device; "
            "choose lora"
        )
    if c.rollout.precision == "fp8":
        check_card(run.device)
    if c.model.quantization != "none":
        if c.run.shard or "full" in c.sft.method:
            raise UserError(
                "model.quantization: weights in four bits are neither trained (sft.method = full) "
                "nor shared out (run.shard); choose one"
            )
        check_bitsandbytes()
    pick_tracker(c.run.tracker)
    _ = run.uncounted_split
    check_groups(run)
    check_model(run.model_folder)
    check_target(run)
    check_room(run)
    for embedder in (c.evaluation.embedder, c.evaluation.unseen_embedder):
        check_embedder(embedder)  # fetched now, not after the hours of the first stages
    if c.judge.model:
        check_judge("judge.model", "judge", c.judge.model, c.judge.max_cost)
    _ = run.max_tokens


def take_folder(run: Run, stack: ExitStack) -> None:
    run.folder = stack.enter_context(RunFolder(run.path))
    with atomic_file(run.path / "config.yaml") as temporary:
        temporary.write_text(run.config.to_yaml(), encoding="utf-8")
    write_json(run.path / "environment.json", environment())


def run_stages(run: Run, wanted: list[Stage]) -> None:
    pace, work, begun = Pace(run.path), stage_work(run), time.monotonic()
    for number, stage in enumerate(wanted, 1):
        inputs = digest([_plain(part) for part in stage.depends_on])
        place = f"[{number}/{len(wanted)}] {stage.name}"
        with ExitStack() as stack:
            begin = lambda: run.folder.stage(stage.name, inputs, stage.outputs, stage.extent)
            if not on_rank0(lambda: stack.enter_context(begin())):
                log.info("%s: done already in %s", place, run.path)
                continue
            left = pace.left([later.name for later in wanted[number - 1 :]], work)
            now = time.monotonic()
            spent = f", {minutes_text(now - begun)} so far" if number > 1 else ""
            hint = f", about {minutes_text(left)} left" if left else ""
            log.info("%s%s%s", place, spent, hint)
            stage.work(run)
            if rank() == 0:
                pace.finished(stage.name, time.monotonic() - now)
    run.log.close()


def _plain(part: object) -> object:
    """A section of the configuration as JSON."""
    return part.model_dump(mode="json") if isinstance(part, BaseModel) else part
