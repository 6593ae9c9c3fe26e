"""Distribution fine-tuning: phases that move the policy's output distribution towards human text.

A phase samples from the policy, follows the first variation of the discrepancies by one of two methods, and
leaves one more adapter on the policy. The policy is then measured on tuning prompts at the final sampler, at
several lengths of the step that the adapter makes; the phases up to the smallest discrepancy are the result.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ..distribution.energy import LengthEnergy
from ..distribution.mmd import MMD, LexicalMMD, StyleMMD
from ..distribution.ngram import NGramL2
from ..distribution.protocol import Discrepancy
from ..distribution.samples import Samples
from ..errors import Diverged
from ..model.adapter import Adapter
from ..model.lora import remove_adapter
from ..profile import stage
from .dft import Rollouts, Task
from .distributed import on_first
from .fit import nats, token_logprobs
from .health import breaches, copied, runs
from .packing import Example
from .run_folder import write_json

log = logging.getLogger(__name__)

STEPS = (1.0, 0.5, 0.25)  # lengths of a phase's step, in units of what was trained
PATIENCE = 2  # phases without improvement that end a run: one alone may be the noise of the tuning prompts
WATCHED = 64  # tuning prompts for the nats of human texts and the drift, which compare texts with themselves


def run_phases(task: Task, method: Callable[[Task, int], dict]) -> list[dict]:
    """Train the phases that are not on disk yet and leave the policy at the best one.

    ``method`` trains one adapter, left live on the policy, and returns a report. The adapter enters at the length of
    ``STEPS`` whose score is least, tried from the longest as long as a shorter one promises to be better: training says
    where to go, not how far. A score is the mean change of the discrepancies since the start, each in units of its start,
    or of its noise between human texts where the start is within that. Stops early when ``PATIENCE`` phases in succession fail
    to improve on the best so far, or one is given up because it diverged or broke one of ``dft.limits`` at every length;
    and where the next one would go beyond ``dft.minutes``.
    Phases on disk beyond ``dft.phases`` are taken out of the record.
    ``folder/phases.json`` holds one record a phase: figures and health on the tuning prompts, the step and the scores of
    those tried, ``dropped`` with the reasons, and what the method reports; record 0 is the start.
    """
    start = len(task.policy.adapters)
    file = task.folder / "phases.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    if len(records) > task.settings.phases + 1:
        del records[task.settings.phases + 1 :]
        on_first(lambda: write_json(file, records))
    for record in records[1:]:
        if "dropped" not in record:
            task.policy.adapters.append(Adapter.load(task.folder / f"phase-{record['phase']}"))
    task.policy.materialise()
    gauge = Gauge(task, records)
    for phase in range(len(records), task.settings.phases + 1):
        if _stalled(records) or _out_of_time(records, task.settings.minutes):
            break
        began = time.monotonic()
        found = _phase(task, method, gauge, phase) if phase else gauge.with_likelihoods(gauge.measure("dft 0: tuning"))
        record = {"phase": phase, **found}
        record["minutes"] = on_first(lambda: (time.monotonic() - began) / 60)
        records.append(record)
        on_first(lambda: write_json(file, records))
        if "dropped" in record:
            log.warning("dft phase %d is given up: %s", phase, "; ".join(record["dropped"]))
        else:
            task.log.write("dft", {"phase": phase, "score": record["score"], **record["tuning"], **record["health"]}, phase)
            figures = ", ".join(f"{name} {value:.5f}" for name, value in record["tuning"].items())
            log.info("dft phase %d, step %g: %s", phase, record.get("step", 0), figures)
    best = min((record for record in records if "dropped" not in record), key=_score)["phase"]
    remove_adapter(task.policy.decoder)
    del task.policy.adapters[start + best :]
    task.policy.materialise()
    log.info("dft: phase %d is the best on the tuning prompts", best)
    return records


def _phase(task: Task, method: Callable[[Task, int], dict], gauge: Gauge, phase: int) -> dict:
    """Train an adapter and leave it on the policy at its best length; the phase's record."""
    gauge.remember(phase - 1)
    try:
        report = method(task, phase)
    except Diverged as wrong:
        return {"dropped": [str(wrong)]}
    adapter = task.policy.end_phase()
    tried: dict[float, dict] = {}

    def take(step: float) -> Adapter:
        scaled = replace(adapter, scale=step * adapter.scale)
        if scaled.scale != task.policy.adapters[-1].scale:  # else the weights are those already
            task.policy.adapters[-1] = scaled
            task.policy.materialise()
        return scaled

    while True:
        if (step := _next_step(gauge.records[-1]["score"], tried)) is not None:
            take(step)
            try:
                tried[step] = gauge.measure(_rollout_name(phase, step))
            except Diverged as wrong:
                tried[step] = {"dropped": [str(wrong)]}
            continue
        best = min(tried, key=lambda step: _score(tried[step]))
        kept = take(best)
        if "dropped" in tried[best] or "human_nats" in tried[best]["health"]:
            break
        tried[best] = gauge.with_likelihoods(tried[best])
    on_first(lambda: kept.save(task.folder / f"phase-{phase}", task.policy.folder))
    scores = {f"{step:g}": record.get("score") for step, record in tried.items()}
    return {**tried[best], "step": best, "tried": scores, **report}


class Gauge:
    """Measures the policy on the tuning prompts, against its start and against the phase before."""

    def __init__(self, task: Task, records: list[dict]):
        self.task, self.records = task, records
        vocab = task.policy.decoder.config.vocab_size
        self.discrepancies = {
            "mmd": MMD(),
            "lexical": LexicalMMD(),
            "ngram": NGramL2(vocab),
            "style": StyleMMD(),
            "length_distance": LengthEnergy(),
        }
        self.noise = on_first(lambda: {name: _noise(d, task.tuning_human) for name, d in self.discrepancies.items()})
        for discrepancy in self.discrepancies.values():
            discrepancy.fit(task.tuning_human)
        self.corpus = runs(example.completion for example in task.examples)
        self.before: Rollouts | None = None
        self.measured: dict[str, Rollouts] = {}  # since `remember`

    def remember(self, phase: int) -> None:
        """Take the policy as ``phase`` left it for the one to compare with; its rollouts are on disk."""
        name = _rollout_name(phase, self.records[phase].get("step"))
        self.before, self.measured = self.measured.get(name) or self._rollouts(name), {}

    def measure(self, what: str) -> dict:
        """Score, figures and health of the policy as it stands, as far as its answers show it; ``dropped`` where that is
        beyond ``dft.limits``."""
        task = self.task
        rollouts = self.measured[what] = self._rollouts(what)
        with stage("discrepancy"):
            figures = on_first(lambda: {name: d.value(rollouts.samples) for name, d in self.discrepancies.items()})
        first = self.records[0]["tuning"] if self.records else figures
        scales = {name: max(abs(first[name]), self.noise[name]) for name in figures}
        score = sum((figures[name] - first[name]) / scales[name] for name in figures) / len(figures)
        texts = rollouts.samples
        taken = copied((texts.tokens_of(i) for i in range(len(texts))), self.corpus)
        found = {**rollouts.health, "copied": taken}
        return self._checked({"score": score, "tuning": figures, "left_out": rollouts.left_out, "health": found})

    def with_likelihoods(self, record: dict) -> dict:
        """The same with what human texts cost, and the KL from the policy before by what that one answered to the same
        prompts. It costs half as much as the answers, so a phase has it only of the length that it would keep."""
        task, before, human = self.task, self.before, self.task.tuning[:WATCHED]
        asked = before.prompt[:WATCHED] if before else []
        drawn = [Example(task.tuning[p].prompt, before.samples.tokens_of(i)) for i, p in enumerate(asked)]
        logprobs = token_logprobs(task.policy.decoder, human + drawn, task.settings.micro_tokens)
        found = {"human_nats": nats(logprobs[: len(human)])}
        if before:
            found["kl"] = nats(logprobs[len(human) :]) - nats(before.logprobs[: len(drawn)])
        return self._checked(record | {"health": record["health"] | found})

    def _checked(self, record: dict) -> dict:
        if not self.records:
            return record
        start, length = self.records[0]["health"], float(self.task.tuning_human.lengths.float().mean())
        broken = breaches(record["health"], start, length, self.task.settings.limits)
        return record | ({"dropped": broken} if broken else {})

    def _rollouts(self, what: str) -> Rollouts:
        c, prompts = self.task.settings, [example.prompt for example in self.task.tuning]
        return self.task.sample(prompts, [c.temperature] * c.tuning_samples, self.task.seed, what)


def _rollout_name(phase: int, step: float | None) -> str:
    return f"dft {phase}: tuning" + (f" at {step:g}" if phase else "")


def _next_step(start: float, tried: dict[float, dict]) -> float | None:
    """The next of ``STEPS``; None where all are tried, or the parabola through the scores of the start (length 0) and of
    the last two lengths puts the next, half as long as the last, above the best."""
    if len(tried) == len(STEPS):
        return None
    step, scores = STEPS[len(tried)], [_score(record) for record in tried.values()]
    if len(tried) < 2 or scores[-1] == math.inf:
        return step
    expected = (3 * start + 6 * scores[-1] - scores[-2]) / 8
    return step if expected < min(scores) else None


def _score(record: dict) -> float:
    return math.inf if "dropped" in record else record["score"]


def _noise(discrepancy: Discrepancy, human: Samples, splits: int = 10) -> float:
    """Standard deviation of a discrepancy between random halves of the human texts."""
    values = []
    for seed in range(splits):
        order = torch.randperm(len(human), generator=torch.Generator().manual_seed(seed))
        discrepancy.fit(human.select(order[: len(order) // 2]))
        values.append(discrepancy.value(human.select(order[len(order) // 2 :])))
    return float(torch.tensor(values).std())


def _stalled(records: list[dict]) -> bool:
    """Whether the last phase was given up, or none of the last ``PATIENCE`` is the best so far."""
    if records and "dropped" in records[-1]:
        return True
    scores = [record["score"] for record in records]
    return len(scores) > PATIENCE and min(scores[-PATIENCE:]) > min(scores)


def _out_of_time(records: list[dict], limit: float | None) -> bool:
    """Whether a phase as long as the last one would take all of them beyond the limit, in minutes."""
    spent = [record.get("minutes", 0.0) for record in records]
    return limit is not None and len(spent) > 1 and sum(spent) + spent[-1] > limit
