"""Validation: how far the policy is from human texts on prompts that no phase trains on, and whether it has collapsed."""

from __future__ import annotations

import torch

from dftfast.dft.collapse import broken_guards, copied, runs
from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.distribution.energy import LengthEnergy
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.protocol import Discrepancy
from dftfast.distribution.samples import Samples
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.likelihood import nats, token_logprobs
from dftfast.optimise.packing import Example
from dftfast.runtime.profile import stage

WATCHED = 64  # validation prompts for the nats of human texts and the drift, which compare texts with themselves


class ValidationScorer:
    """Measures the policy on the validation prompts, against its start and against the phase before."""

    def __init__(self, context: PhaseContext, records: list[dict]):
        self.context, self.records = context, records
        vocab = context.policy.decoder.config.vocab_size
        self.discrepancies = {
            "mmd": MMD(),
            "lexical": LexicalMMD(),
            "ngram": NGramL2(vocab),
            "style": StyleMMD(),
            "length_distance": LengthEnergy(),
        }
        self.noise = on_rank0(
            lambda: {
                name: _noise(d, context.validation_human) for name, d in self.discrepancies.items()
            }
        )
        for discrepancy in self.discrepancies.values():
            discrepancy.fit(context.validation_human)
        self.corpus = runs(example.completion for example in context.examples)
        self.before: Rollouts | None = None
        self.measured: dict[str, Rollouts] = {}  # since `remember`

    def remember(self, phase: int) -> None:
        """Take the policy as ``phase`` left it for the one to compare with; its rollouts are on disk."""
        name = rollout_name(phase, self.records[phase].get("scale"))
        self.before, self.measured = self.measured.get(name) or self._rollouts(name), {}

    def measure(self, what: str) -> dict:
        """Score, figures and collapse of the policy as it stands, as far as its answers show it; ``dropped`` where that is
        beyond ``dft.guards``."""
        context = self.context
        rollouts = self.measured[what] = self._rollouts(what)
        with stage("discrepancy"):
            figures = on_rank0(
                lambda: {name: d.value(rollouts.samples) for name, d in self.discrepancies.items()}
            )
        first = self.records[0]["validation"] if self.records else figures
        scales = {name: max(abs(first[name]), self.noise[name]) for name in figures}
        score = sum((figures[name] - first[name]) / scales[name] for name in figures) / len(figures)
        texts = rollouts.samples
        taken = copied((texts.tokens_of(i) for i in range(len(texts))), self.corpus)
        found = {**rollouts.collapse, "copied": taken}
        return self._checked(
            {
                "score": score,
                "validation": figures,
                "left_out": rollouts.left_out,
                "collapse": found,
            }
        )

    def with_likelihoods(self, record: dict) -> dict:
        """The same with what human texts cost, and the KL from the policy before by what that one answered to the same
        prompts. It costs half as much as the answers, so a phase has it only of the scale that it would keep."""
        context, before, human = self.context, self.before, self.context.validation[:WATCHED]
        asked = before.prompt[:WATCHED] if before else []
        drawn = [
            Example(context.validation[p].prompt, before.samples.tokens_of(i))
            for i, p in enumerate(asked)
        ]
        logprobs = token_logprobs(
            context.policy.decoder, human + drawn, context.settings.micro_tokens
        )
        found = {"human_nats": nats(logprobs[: len(human)])}
        if before:
            found["kl"] = nats(logprobs[len(human) :]) - nats(before.logprobs[: len(drawn)])
        return self._checked(record | {"collapse": record["collapse"] | found})

    def _checked(self, record: dict) -> dict:
        if not self.records:
            return record
        start, length = (
            self.records[0]["collapse"],
            float(self.context.validation_human.lengths.float().mean()),
        )
        broken = broken_guards(record["collapse"], start, length, self.context.settings.guards)
        return record | ({"dropped": broken} if broken else {})

    def _rollouts(self, what: str) -> Rollouts:
        c, prompts = self.context.settings, [example.prompt for example in self.context.validation]
        return self.context.sample(
            prompts, [c.temperature] * c.validation_samples, self.context.seed, what
        )


def rollout_name(phase: int, scale: float | None) -> str:
    """Names the answers to the validation prompts at this scale of a phase's adapter."""
    return f"dft {phase}: validation" + (f" at {scale:g}" if phase else "")


def _noise(discrepancy: Discrepancy, human: Samples, splits: int = 10) -> float:
    """Standard deviation of a discrepancy between random halves of the human texts."""
    values = []
    for seed in range(splits):
        order = torch.randperm(len(human), generator=torch.Generator().manual_seed(seed))
        discrepancy.fit(human.select(order[: len(order) // 2]))
        values.append(discrepancy.value(human.select(order[len(order) // 2 :])))
    return float(torch.tensor(values).std())
