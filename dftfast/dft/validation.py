"""Validation on prompts that no phase trains on: the discrepancies and the collapse metrics.

The answers are held against the human texts of the same prompts, in views that training follows and
in others that it never sees, each beside its standard deviation were the answers human.
"""

from __future__ import annotations

from collections.abc import Mapping

from dftfast.dft.collapse import broken_guards, copied, runs
from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.paired_views import GroupViews, PairedViews
from dftfast.distribution.samples import Samples
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.likelihood import nats, token_logprobs
from dftfast.optimise.packing import Example
from dftfast.runtime.profile import stage

# Validation prompts for the nats of human texts and the KL, which compare texts with themselves.
WATCHED = 64
SEEN = 2.0  # standard deviations from human text beyond which a distance is seen


class ValidationScorer:
    """Measures the policy on the validation prompts, against its start and the phase before.

    Attributes:
        records: those of the phases so far; record 0 is the start.
    """

    def __init__(self, context: PhaseContext, records: list[dict]):
        self.context, self.records = context, records
        human, groups = context.validation_human, context.groups
        self.views = PairedViews(human, self._unseen(human))
        self.groups = GroupViews(self.views, groups.of_validation if groups else [])
        self.corpus = runs(example.completion for example in context.examples)
        self.last: Rollouts | None = None  # what the policy measured last answered

    def remember(self, phase: int) -> None:
        """Take the policy as `phase` left it to compare the next with; its answers are on disk."""
        self.last = self.last or self._answers(phase)

    def measure(self, phase: int) -> dict:
        """Measure the policy as `phase` left it, also against the one before.

        Returns:
            A record of its score, its discrepancies, how many standard deviations they are from
            human text, and its collapse metrics; of the same distances by group, too, where
            groups are matched, and of `dropped` where the metrics are beyond the guards.
        """
        rollouts = self._answers(phase)
        before, self.last = self.last, rollouts
        texts = rollouts.samples
        unseen = self._unseen(texts)
        with stage("discrepancy"):
            answered = (texts, unseen, rollouts.prompt)
            found = on_rank0(lambda: self.views.distances(*answered))
            groups = on_rank0(lambda: self.groups.figures(*answered))
        values = {name: distance.value for name, distance in found.items()}
        z = {name: distance.z for name, distance in found.items()}
        record = {
            "score": score(z, self.records[0]["z"] if self.records else z),
            "validation": values,
            "z": z,
            "left_out": rollouts.left_out,
            "collapse": {
                **rollouts.collapse,
                "copied": copied((texts.tokens_of(i) for i in range(len(texts))), self.corpus),
                **self._likelihoods(before),
            },
        }
        if groups:
            record["groups"] = groups
        return record | self._broken(record["collapse"])

    def _unseen(self, texts: Samples) -> dict[str, Samples]:
        """The texts as each embedder that no phase follows sees them."""
        return {name: embedded(texts) for name, embedded in self.context.unseen.items()}

    def _answers(self, phase: int) -> Rollouts:
        context = self.context
        return context.sample(context.validation, 1, context.seed, f"dft {phase}: validation")

    def _likelihoods(self, before: Rollouts | None) -> dict[str, float]:
        """What human texts cost, and the KL from the policy before, by what that one answered."""
        context, human = self.context, self.context.validation[:WATCHED]
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
        return likelihoods

    def _broken(self, collapse: dict[str, float]) -> dict[str, list[str]]:
        if not self.records:
            return {}
        length = float(self.context.validation_human.lengths.float().mean())
        broken = broken_guards(collapse, self.records[0]["collapse"], length)
        return {"dropped": broken} if broken else {}


def score(z: Mapping[str, float], start: Mapping[str, float]) -> float:
    """The change of all distances together, as a share of the start's.

    They are added in standard deviations from human text: a view that the start is close to
    human text in, by chance or in truth, so counts no more than another.

    Args:
        z: of each view, the distance in standard deviations were the answers human.
        start: the same of the start; where it is like human text, one standard deviation a view
            is what changes are a share of.
    """
    before = sum(start.values())
    return (sum(z.values()) - before) / max(before, len(start))


def like_human(record: dict) -> bool:
    """Whether validation sees no distance from human text any more."""
    return all(z < SEEN for z in record["z"].values())
