"""Validation on prompts that no phase trains on: the discrepancies and the collapse metrics."""

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

# Validation prompts for the nats of human texts and the KL, which compare texts with themselves.
WATCHED = 64


class ValidationScorer:
    """Measures the policy on the validation prompts, against its start and the phase before.

    Attributes:
        records: those of the phases so far; record 0 is the start.
        noise: how far each discrepancy lies apart between human texts.
        before: what the policy of the phase before answered.
    """

    def __init__(self, context: PhaseContext, records: list[dict]):
        self.context, self.records = context, records
        vocab = context.policy.decoder.config.vocab_size
        self.discrepancies: dict[str, Discrepancy] = {
            "mmd": MMD(),
            "lexical": LexicalMMD(),
            "ngram": NGramL2(vocab),
            "style": StyleMMD(),
            "length_distance": LengthEnergy(),
        }
        human = context.validation_human
        self.noise = on_rank0(
            lambda: {name: _noise(d, human) for name, d in self.discrepancies.items()}
        )
        for discrepancy in self.discrepancies.values():
            discrepancy.fit(human)
        self.corpus = runs(example.completion for example in context.examples)
        self.before: Rollouts | None = None
        self.measured: dict[str, Rollouts] = {}  # since `remember`

    def remember(self, phase: int) -> None:
        """Take the policy as `phase` left it to compare with; its rollouts are on disk."""
        name = rollout_name(phase, self.records[phase].get("scale"))
        self.before, self.measured = self.measured.get(name) or self._rollouts(name), {}

    def measure(self, label: str) -> dict:
        """Measure the policy as it stands, as far as its answers show it.

        Args:
            label: names the rollout of its answers.

        Returns:
            A record of its score, discrepancies and collapse metrics; of `dropped`, too, where
            those are beyond `dft.guards`.
        """
        rollouts = self.measured[label] = self._rollouts(label)
        texts = rollouts.samples
        with stage("discrepancy"):
            values = on_rank0(
                lambda: {name: d.value(texts) for name, d in self.discrepancies.items()}
            )
        first = self.records[0]["validation"] if self.records else values
        scales = {name: max(abs(first[name]), self.noise[name]) for name in values}
        score = sum((values[name] - first[name]) / scales[name] for name in values) / len(values)
        copied_share = copied((texts.tokens_of(i) for i in range(len(texts))), self.corpus)
        return self._checked(
            {
                "score": score,
                "validation": values,
                "left_out": rollouts.left_out,
                "collapse": {**rollouts.collapse, "copied": copied_share},
            }
        )

    def with_likelihoods(self, record: dict) -> dict:
        """Add what human texts cost, and the KL from the policy before.

        The KL is measured by what that one answered to the same prompts. Both cost half as much as
        the answers, so a phase has them only of the scale that it would keep.
        """
        context, before, human = self.context, self.before, self.context.validation[:WATCHED]
        drawn: list[Example] = []
        if before:
            drawn = [
                Example(context.validation[p].prompt, before.samples.tokens_of(i))
                for i, p in enumerate(before.prompt[:WATCHED])
            ]
        logprobs = token_logprobs(
            context.policy.decoder, human + drawn, context.settings.micro_tokens
        )
        likelihoods = {"human_nats": nats(logprobs[: len(human)])}
        if before:
            now, then = nats(logprobs[len(human) :]), nats(before.logprobs[: len(drawn)])
            likelihoods["kl"] = now - then
        return self._checked(record | {"collapse": record["collapse"] | likelihoods})

    def _checked(self, record: dict) -> dict:
        """The record, with `dropped` where it breaks a guard."""
        if not self.records:
            return record
        start = self.records[0]["collapse"]
        length = float(self.context.validation_human.lengths.float().mean())
        broken = broken_guards(record["collapse"], start, length, self.context.settings.guards)
        return record | ({"dropped": broken} if broken else {})

    def _rollouts(self, label: str) -> Rollouts:
        settings = self.context.settings
        temperatures = [settings.temperature] * settings.validation_samples
        return self.context.sample(self.context.validation, temperatures, self.context.seed, label)


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
