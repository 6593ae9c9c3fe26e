"""Distribution fine-tuning: phases that move the policy's output distribution to human text.

A phase samples from the policy, follows the first variation of the discrepancies by one of two
methods, and leaves one more adapter on the policy. The policy is then measured on validation
prompts at the final sampler, at several scales of the adapter; the phases up to the smallest
discrepancy are the result.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dftfast.dft.context import PhaseContext
from dftfast.dft.validation import ValidationScorer, like_human, rollout_name
from dftfast.model.adapter import Adapter
from dftfast.model.lora import remove_adapter
from dftfast.optimise.distributed import on_rank0
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import write_json

log = logging.getLogger(__name__)

SCALES = (1.0, 0.5, 0.25)  # of a phase's adapter, in units of what was trained
PATIENCE = 2  # phases without improvement that end a run: one may be the validation prompts' noise

Method = Callable[[PhaseContext, int], dict]  # trains the adapter of a phase; returns a report


def run_phases(
    context: PhaseContext, method: Method, scales: Sequence[float] = SCALES
) -> list[dict]:
    """Train the phases that are not on disk yet and leave the policy at the best one.

    `method` trains one adapter, left live on the policy, and returns a report. The adapter enters
    at that of the `scales` whose score is least, tried from the largest as long as a smaller one
    promises to be better: training says where to go, not how far. A score is the mean change of
    the discrepancies since the start, each in units of its start, or of its standard deviation
    were the answers human where the start is within that.

    Stops early when validation sees no distance from human text any more, when `PATIENCE` phases in
    succession fail to improve on the best so far, or one is given up because it diverged or broke
    one of `dft.guards` at every scale; and where the next one would go beyond `dft.minutes`. Phases
    on disk beyond `dft.phases` are taken out of the record.

    Returns:
        One record a phase, as `folder/phases.json` holds them: discrepancies and collapse metrics
        on the validation prompts, the scale and the scores of those tried, `dropped` with the
        reasons, and what the method reports. Record 0 is the start.
    """
    start = len(context.policy.adapters)
    file = context.folder / "phases.json"
    records = _continued(context, file)
    scorer = ValidationScorer(context, records)
    for phase in range(len(records), context.settings.phases + 1):
        if _stalled(records) or _out_of_time(records, context.settings.minutes):
            break
        if records and like_human(records[-1]):
            log.info("dft: validation sees no distance from human text any more")
            break
        began = time.monotonic()
        if phase:
            measured = _phase(context, method, scorer, phase, scales)
        else:
            measured = scorer.with_likelihoods(scorer.measure("dft 0: validation"))
        minutes = on_rank0(partial(_minutes_since, began))
        records.append({"phase": phase, **measured, "minutes": minutes})
        on_rank0(partial(write_json, file, records))
        _log_phase(context, records[-1])
    best = min((record for record in records if "dropped" not in record), key=_score)["phase"]
    remove_adapter(context.policy.decoder)
    del context.policy.adapters[start + best :]
    context.policy.merge_weights()
    log.info("dft: phase %d is the best on the validation prompts", best)
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
    where = f"dft phase {phase}, adapter x {record['scale']:g}" if phase else "dft start"
    log.info("%s: validation score %+.3f (0 is the start, less is better)", where, record["score"])


def _phase(
    context: PhaseContext,
    method: Method,
    scorer: ValidationScorer,
    phase: int,
    scales: Sequence[float],
) -> dict:
    """Train an adapter and leave it on the policy at its best scale; the phase's record."""
    scorer.remember(phase - 1)
    try:
        report = method(context, phase)
    except Diverged as wrong:
        return {"dropped": [str(wrong)]}
    adapter = context.policy.end_phase()
    tried: dict[float, dict] = {}

    def apply(scale: float) -> Adapter:
        scaled = replace(adapter, scale=scale * adapter.scale)
        if scaled.scale != context.policy.adapters[-1].scale:  # else the weights are those already
            context.policy.adapters[-1] = scaled
            context.policy.merge_weights()
        return scaled

    while True:
        if (scale := _next_scale(scales, scorer.records[-1]["score"], tried)) is not None:
            apply(scale)
            try:
                tried[scale] = scorer.measure(rollout_name(phase, scale))
            except Diverged as wrong:
                tried[scale] = {"dropped": [str(wrong)]}
            continue
        best = min(tried, key=lambda scale: _score(tried[scale]))
        kept = apply(best)
        if "dropped" in tried[best] or "human_nats" in tried[best]["collapse"]:
            break
        tried[best] = scorer.with_likelihoods(tried[best])
    on_rank0(lambda: kept.save(context.folder / f"phase-{phase}", context.policy.folder))
    scores = {f"{scale:g}": record.get("score") for scale, record in tried.items()}
    return {**tried[best], "scale": best, "tried": scores, **report}


def _next_scale(scales: Sequence[float], start: float, tried: dict[float, dict]) -> float | None:
    """The next of the scales, as long as there is one that promises to be better.

    None where all are tried, or the parabola through the scores of the start (scale 0) and of the
    last two scales puts the next, half the last, above the best.
    """
    if len(tried) == len(scales):
        return None
    scale, scores = scales[len(tried)], [_score(record) for record in tried.values()]
    if len(tried) < 2 or scores[-1] == math.inf:
        return scale
    expected = (3 * start + 6 * scores[-1] - scores[-2]) / 8
    return scale if expected < min(scores) else None


def _score(record: dict) -> float:
    return math.inf if "dropped" in record else record["score"]


def _stalled(records: list[dict]) -> bool:
    """Whether the last phase was given up, or none of the last `PATIENCE` is the best so far."""
    if records and "dropped" in records[-1]:
        return True
    scores = [record["score"] for record in records]
    return len(scores) > PATIENCE and min(scores[-PATIENCE:]) > min(scores)


def _out_of_time(records: list[dict], limit: float | None) -> bool:
    """Whether a phase as long as the last one would take them all beyond the limit, in minutes."""
    spent = [record.get("minutes", 0.0) for record in records]
    return limit is not None and len(spent) > 1 and sum(spent) + spent[-1] > limit
