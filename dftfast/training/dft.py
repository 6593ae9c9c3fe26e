"""Distribution fine-tuning: phases that move the policy's output distribution towards human text.

A phase samples from the policy, follows the first variation of the discrepancies by one of two methods, and
leaves one more adapter on the policy. After each phase the policy is measured on tuning prompts at the final
sampler; the phases up to the smallest discrepancy there are the result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..distribution.length import LengthEnergy
from ..distribution.mmd import MMD, StyleMMD
from ..distribution.ngram import NGramL2
from ..distribution.protocol import Discrepancy
from ..distribution.samples import Samples
from ..errors import Diverged
from ..model.adapter import Adapter
from ..model.lora import remove_adapter
from ..model.policy import Policy
from ..model.tokenizer import Tokenizer
from ..profile import stage
from ..rollout import Request, RolloutEngine, Sampler
from .checkpoint import Checkpoints
from .distributed import on_first
from .fit import FitSettings, fit, nats_per_token
from .health import breaches, health, kl
from .log import RunLog
from .packing import Example
from .rollouts import generate
from .run_folder import write_json

log = logging.getLogger(__name__)

WATCHED = 128  # tuning prompts that the nats of human texts and the drift are measured on: both compare texts with themselves
PATIENCE = 2  # phases without improvement that end a run: one alone may be the noise of the tuning prompts


@dataclass
class Rollouts:
    """Finished samples, and the share that was cut off or empty and left out.

    Attributes:
        prompt: the index of each sample's prompt.
        logprobs: of each sample's tokens under the model, untempered, in nats.
        health: of all samples, those left out included.
    """

    samples: Samples
    prompt: list[int]
    logprobs: list[list[float]]
    left_out: float
    health: dict[str, float]


@dataclass
class Task:
    """What a phase works with.

    Attributes:
        embed: texts -> fp32 [n, d].
        examples: training prompts with their human completions; phases take the prompts in turn.
        human: the bank of human texts that discrepancies are fitted on.
        tuning: prompts that choose the phase; tuning_human: human texts of other prompts, which no phase sees. A text is
            closer to the human one of its own prompt, which would lower MMD² by as much as a good policy has of it.
        max_tokens: length limit of a rollout.
        settings: the ``dft`` section of the configuration.
        folder: where phases are kept.
        checkpoints: those of a training loop by name.
    """

    policy: Policy
    engine: RolloutEngine
    tokenizer: Tokenizer
    embed: Callable[[list[str]], Tensor]
    examples: list[Example]
    human: Samples
    tuning: list[Example]
    tuning_human: Samples
    max_tokens: int
    settings: object
    seed: int
    folder: Path
    log: RunLog
    checkpoints: Callable[[str], Checkpoints]

    def sample(self, prompts: list[list[int]], temperatures: list[float], seed: int, what: str) -> Rollouts:
        """One sample for each prompt and temperature, from the whole distribution (no top-k, no top-p)."""
        requests = [
            Request(p * len(temperatures) + t, prompt, Sampler(temperature, max_tokens=self.max_tokens), seed)
            for p, prompt in enumerate(prompts)
            for t, temperature in enumerate(temperatures)
        ]
        batches = generate(self.engine, requests, self.checkpoints("rollouts").folder, what)
        outputs = [batch.output(i) for batch in batches for i in range(len(batch))]
        reasons = [reason for batch in batches for reason in batch.finish_reason]
        texts = [self.tokenizer.decode(output).strip() for output in outputs]
        usable = [i for i, text in enumerate(texts) if reasons[i] == "stop" and text]
        if len(usable) < 2:
            raise Diverged(f"{what}: of {len(texts)} samples {len(usable)} are neither empty nor cut off")
        kept = [texts[i] for i in usable]
        prompt = [i // len(temperatures) for i in usable]
        about = self.embed_prompts(prompts)
        about = None if about is None else about[prompt]
        samples = Samples.of(self.embed(kept), [outputs[i] for i in usable], kept, about)
        logprobs = [part for batch in batches for part in batch.logprobs.split(batch.offsets.diff().tolist())]
        return Rollouts(
            samples=samples,
            prompt=prompt,
            logprobs=[logprobs[i].tolist() for i in usable],
            left_out=1 - len(usable) / len(texts),
            health=health(batches, texts),
        )

    def embed_prompts(self, prompts: list[list[int]]) -> Tensor | None:
        """fp32 [prompts, d] where a discrepancy is conditional on the prompt, else None."""
        conditional = self.settings.weights.conditional_mmd
        return self.embed([self.tokenizer.decode(prompt) for prompt in prompts]) if conditional else None

    def candidates(self, phase: int, prompts: list[Example]) -> Rollouts:
        """``settings.candidates`` samples for each prompt, spread over the candidate temperatures."""
        c = self.settings
        temperatures = [c.candidate_temperatures[k % len(c.candidate_temperatures)] for k in range(c.candidates)]
        return self.sample([e.prompt for e in prompts], temperatures, self.seed + phase, f"dft {phase}: candidates")

    def learn(self, phase: int, examples: list[Example], **how) -> None:
        """Train a fresh adapter on the examples and leave it live; ``how`` goes to ``fit``."""
        c, seed = self.settings, self.seed + phase
        parameters = self.policy.begin_phase(c.rank, c.alpha, seed)
        settings = FitSettings(
            c.learning_rate, c.epochs, c.batch_tokens, c.micro_tokens, loss_limit=0 if how else c.limits.loss
        )
        steps, checkpoints = self.log.steps(f"dft {phase}"), self.checkpoints(f"phase-{phase}")
        fit(self.policy.decoder, parameters, examples, settings, seed, steps, checkpoints=checkpoints, **how)

    def phase_prompts(self, phase: int) -> list[Example]:
        """The prompts of a phase: the next ones in the training set, around and around."""
        count = min(self.settings.prompts, len(self.examples))
        start = (phase - 1) * count
        return [self.examples[i % len(self.examples)] for i in range(start, start + count)]


def run_phases(task: Task, method: Callable[[Task, int], dict]) -> list[dict]:
    """Train the phases that are not on disk yet and leave the policy at the best one.

    ``method`` trains one adapter, left live on the policy, and returns a report. A phase's score is the mean change of
    the discrepancies since the start, each in units of its start, or of its noise between human texts where
    the start is within that. Stops early when ``PATIENCE`` phases in succession fail to improve on the best so far, or
    one is given up because it diverged or broke one of ``dft.limits``. ``folder/phases.json`` holds one record a
    phase: figures and health on the tuning prompts, ``dropped`` with the reasons, and what the method reports; record 0
    is the start.
    """
    start = len(task.policy.adapters)
    file = task.folder / "phases.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for record in records[1:]:
        if "dropped" not in record:
            task.policy.adapters.append(Adapter.load(task.folder / f"phase-{record['phase']}"))
    task.policy.materialise()
    vocab = task.policy.decoder.config.vocab_size
    discrepancies = {"mmd": MMD(), "ngram": NGramL2(vocab), "style": StyleMMD(), "length_distance": LengthEnergy()}
    noise = on_first(lambda: {name: _noise(d, task.tuning_human) for name, d in discrepancies.items()})
    for discrepancy in discrepancies.values():
        discrepancy.fit(task.tuning_human)
    before, micro_tokens = None, task.settings.micro_tokens
    for phase in range(len(records), task.settings.phases + 1):
        if _stalled(records):
            break
        if before is None and records:
            before = tuning_rollouts(task, len(records) - 1)
        report = {}
        try:
            if phase:
                report = method(task, phase)
                adapter = task.policy.end_phase()
                on_first(lambda: adapter.save(task.folder / f"phase-{phase}", task.policy.folder))
            rollouts = tuning_rollouts(task, phase)
        except Diverged as wrong:
            if not phase:
                raise
            records.append({"phase": phase, "dropped": [str(wrong)], **report})
        else:
            with stage("discrepancy"):
                figures = on_first(lambda: {name: d.value(rollouts.samples) for name, d in discrepancies.items()})
            first = records[0]["tuning"] if records else figures
            scales = {name: max(abs(first[name]), noise[name]) for name in figures}
            score = sum((figures[name] - first[name]) / scales[name] for name in figures) / len(figures)
            found = rollouts.health | {"human_nats": nats_per_token(task.policy.decoder, task.tuning[:WATCHED], micro_tokens)}
            found |= {"kl": _drift(task, before)} if phase else {}
            dropped = _broken(task, found, records[0]["health"]) if phase else {}
            records.append(
                {"phase": phase, "score": score, "tuning": figures, "left_out": rollouts.left_out, "health": found}
                | dropped
                | report
            )
            task.log.write("dft", {"phase": phase, "score": score, **figures, **found, **dropped}, phase)
            log.info("dft phase %d: %s", phase, ", ".join(f"{name} {value:.5f}" for name, value in figures.items()))
            before = rollouts
        on_first(lambda: write_json(file, records))
        if "dropped" in records[-1]:
            log.warning("dft phase %d is given up: %s", phase, "; ".join(records[-1]["dropped"]))
    best = min((record for record in records if "dropped" not in record), key=lambda record: record["score"])["phase"]
    remove_adapter(task.policy.decoder)
    del task.policy.adapters[start + best :]
    task.policy.materialise()
    log.info("dft: phase %d is the best on the tuning prompts", best)
    return records


def tuning_rollouts(task: Task, phase: int) -> Rollouts:
    """What the policy, as ``phase`` left it, answers to the tuning prompts."""
    prompts = [example.prompt for example in task.tuning]
    return task.sample(prompts, [task.settings.temperature], task.seed, f"dft {phase}: tuning")


def _drift(task: Task, before: Rollouts) -> float:
    """KL of the policy from the one that gave the rollouts ``before``."""
    texts = before.samples
    examples = [Example(task.tuning[p].prompt, texts.tokens_of(i)) for i, p in enumerate(before.prompt[:WATCHED])]
    return kl(task.policy.decoder, examples, before.logprobs[:WATCHED], task.settings.micro_tokens)


def _broken(task: Task, found: dict[str, float], start: dict[str, float]) -> dict[str, list[str]]:
    human_length = float(task.tuning_human.lengths.float().mean())
    broken = breaches(found, start, human_length, task.settings.limits)
    return {"dropped": broken} if broken else {}


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
