"""Distribution fine-tuning: phases that move the policy's output distribution to human text.

A phase samples from the policy, makes an adapter that follows the first variation of the
discrepancies, and leaves it on the policy. The policy is then measured on validation prompts at the
final sampler. The result is the last phase, unless one before it is better beyond chance.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dftfast.dft.context import PhaseContext
from dftfast.dft.validation import ValidationScorer, like_human
from dftfast.model.adapter import Adapter
from dftfast.model.lora import remove_adapter
from dftfast.optimise.distributed import on_rank0
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import write_json

log = logging.getLogger(__name__)

PATIENCE = 2  # phases without improvement that end a run: one may be the validation prompts' noise
NOISE = 0.1  # of a score: one standard deviation of the difference of two, on some 400 prompts

Method = Callable[[PhaseContext, int], dict]  # leaves a phase's adapter; returns a report


def run_phases(context: PhaseContext, method: Method) -> list[dict]:
    """Train the phases that are not on disk yet and leave the policy at the one to keep.

    `method` leaves one more adapter on the policy and returns a report. A score is the
    change of the discrepancies since the start, added in standard deviations from human text, as a
    share of the start's. A phase brings more than one can see on some hundred prompts, so the last
    one is kept whose score is within `NOISE` of the least.

    Stops early when validation sees no distance from human text after a phase, when `PATIENCE`
    phases in succession fail to improve on the best so far, or one is given up because it diverged
    or broke one of the guards. Phases on disk beyond `dft.phases` are taken out of the record.

    Returns:
        One record a phase, as `folder/phases.json` holds them: discrepancies and collapse metrics
        on the validation prompts, `dropped` with the reasons, `kept` where the result holds it, and
        what the method reports. Record 0 is the start.
    """
    start = len(context.policy.adapters)
    file = context.folder / "phases.json"
    records = _continued(context, file)
    scorer = ValidationScorer(context, records)
    for phase in range(len(records), context.settings.phases + 1):
        if _stalled(records):
            break
        if len(records) > 1 and like_human(records[-1]):
            log.info("dft: validation sees no distance from human text any more")
            break
        began = time.monotonic()
        measured = _phase(context, method, scorer, phase)
        minutes = on_rank0(partial(_minutes_since, began))
        records.append({"phase": phase, **measured, "minutes": minutes})
        on_rank0(partial(write_json, file, records))
        _log_phase(context, records[-1])
    best = _kept(records)
    kept = [record["phase"] <= best and "dropped" not in record for record in records]
    if kept != [record.get("kept") for record in records]:
        for record, each in zip(records, kept):
            record["kept"] = each
        on_rank0(partial(write_json, file, records))
    remove_adapter(context.policy.decoder)
    del context.policy.adapters[start + best :]
    context.policy.merge_weights()
    log.info("dft: phase %d is kept", best)
    return records


def _continued(context: PhaseContext, file: Path) -> list[dict]:
    """The records of the phases on disk, whose adapters join the policy."""
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    if len(records) > context.settings.phases + 1:
        del records[context.settings.phases + 1 :]
        on_rank0(lambda: write_json(file, records))
    for record in records[1:]:
        if "dropped" not in record:
            adapter = Adapter.load(context.folder / f"phase-{record['phase']}")
            context.policy.adapters.append(adapter)
    context.policy.merge_weights()
    return records


def _minutes_since(began: float) -> float:
    return (time.monotonic() - began) / 60


def _log_phase(context: PhaseContext, record: dict) -> None:
    phase = record["phase"]
    if "dropped" in record:
        log.warning("dft phase %d is given up: %s", phase, "; ".join(record["dropped"]))
        return
    figures = {"phase": phase, "score": record["score"]}
    context.log.write("dft", {**figures, **record["validation"], **record["collapse"]}, phase)
    where = f"dft phase {phase}" if phase else "dft start"
    log.info("%s: validation score %+.3f (0 is the start, less is better)", where, record["score"])


def _phase(context: PhaseContext, method: Method, scorer: ValidationScorer, phase: int) -> dict:
    """Train an adapter, leave it on the policy and measure that; phase 0 trains nothing."""
    report = {}
    try:
        if phase:
            scorer.remember(phase - 1)
            report = method(context, phase)
            adapter = context.policy.adapters[-1]
            on_rank0(lambda: adapter.save(context.folder / f"phase-{phase}", context.policy.folder))
        return scorer.measure(phase) | report
    except Diverged as wrong:
        if not phase:
            raise
        return {"dropped": [str(wrong)]}


def _score(record: dict) -> float:
    return math.inf if "dropped" in record else record["score"]


def _kept(records: list[dict]) -> int:
    least = min(map(_score, records))
    return max(record["phase"] for record in records if _score(record) <= least + NOISE)


def _stalled(records: list[dict]) -> bool:
    """Whether the last phase was given up, or none of the last `PATIENCE` is the best so far."""
    if records and "dropped" in records[-1]:
        return True
    scores = [record["score"] for record in records]
    return len(scores) > PATIENCE and min(scores[-PATIENCE:]) > min(scores) + NOISE
