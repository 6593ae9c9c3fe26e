"""What a phase works with: the policy, prompts, human texts, and how to sample and to train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from dftfast.dft.collapse import collapse_metrics
from dftfast.dft.stored_rollouts import generate
from dftfast.distribution.grouped import Groups
from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Human
from dftfast.model.policy import Policy
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.log import RunLog
from dftfast.optimise.packing import Example
from dftfast.rollout import Request, RolloutBatch, RolloutEngine, Sampler
from dftfast.runtime.errors import Diverged, UserError


class PhaseSettings(Protocol):
    """What phases and the loop over them read; `dftfast.config` says what each key means."""

    phases: int
    prompts: int
    candidates: int
    min_p: float
    rank: int
    micro_tokens: int


@dataclass
class Rollouts:
    """Samples that are not empty, and the share of all that is empty or was cut off.

    Attributes:
        samples: the texts.
        prompt: the index of each sample's prompt.
        logprobs: of each sample's tokens under the model, untempered, in nats.
        left_out: the share that is empty or was cut off.
        collapse: collapse metrics of all samples, those left out included.
    """

    samples: Samples
    prompt: list[int]
    logprobs: list[list[float]]
    left_out: float
    collapse: dict[str, float]


def _logprobs(batches: list[RolloutBatch]) -> list[Tensor]:
    """The log-probabilities of each sample's tokens."""
    return [
        part for batch in batches for part in batch.logprobs.split(batch.offsets.diff().tolist())
    ]


@dataclass
class PhaseContext:
    """What a phase works with.

    Attributes:
        policy: the model that is fine-tuned.
        engine: samples from it.
        tokenizer: that of the model.
        embed: texts -> fp32 [n, d].
        examples: training prompts with their human completions; phases take the prompts in turn.
        human: the reference: human texts that discrepancies are fitted on, or a target.
        validation: prompts that choose the phase.
        validation_human: the human texts of the validation prompts, which no phase sees.
        unseen: what embeds texts with each embedder that no phase follows, by name.
        max_tokens: length limit of a rollout.
        settings: the `dft` section of the configuration.
        learning_rate: of the baselines that train on texts.
        batch_tokens: of an update of theirs.
        seed: of everything random.
        folder: where phases are kept.
        log: where the run's figures go.
        checkpoints: those of a training loop by name.
        rollouts: folder of samples by what they were sampled from, which tasks may share.
        groups: within which discrepancies are taken; None takes all prompts together.
    """

    policy: Policy
    engine: RolloutEngine
    tokenizer: Tokenizer
    embed: Callable[[list[str]], Tensor]
    examples: list[Example]
    human: Human
    validation: list[Example]
    validation_human: Samples
    unseen: Mapping[str, Callable[[Samples], Samples]]
    max_tokens: int
    settings: PhaseSettings
    learning_rate: float
    batch_tokens: int
    seed: int
    folder: Path
    log: RunLog
    checkpoints: Callable[[str], Checkpoints]
    rollouts: Path
    groups: Groups | None = None

    @property
    def human_texts(self) -> Samples:
        """The reference where it has texts, as most baselines need it."""
        if isinstance(self.human, Samples):
            return self.human
        raise UserError("baselines.methods: the target holds no texts; make it with --with-texts")

    def sample(
        self,
        prompts: Sequence[Example],
        count: int,
        seed: int,
        label: str,
    ) -> Rollouts:
        """Sample some texts for each prompt; empty ones are left out.

        The samples are of the whole distribution at temperature 1, but for `settings.min_p`. Those
        that the length limit cut are among them.

        Args:
            prompts: each with its human text; its samples are expected to be about as long.
            count: texts a prompt.
            seed: of the samples.
            label: names the rollout.

        Raises:
            Diverged: fewer than two texts are neither empty nor cut off.
        """
        folder = self.rollouts / on_rank0(self.policy.fingerprint)
        sampler = Sampler(1.0, min_p=self.settings.min_p, max_tokens=self.max_tokens)
        requests = [
            Request(p * count + k, example.prompt, sampler, seed)
            for p, example in enumerate(prompts)
            for k in range(count)
        ]
        lengths = [len(example.completion) for example in prompts for _ in range(count)]
        batches = generate(self.engine, requests, folder, label, lengths)
        outputs = [batch.output(i) for batch in batches for i in range(len(batch))]
        reasons = [reason for batch in batches for reason in batch.finish_reason]
        texts = [self.tokenizer.decode(output).strip() for output in outputs]
        finished = [reason == "stop" for reason in reasons]
        usable = [i for i, text in enumerate(texts) if text]
        whole = sum(finished[i] for i in usable)
        if whole < 2:
            raise Diverged(
                f"{label}: of {len(texts)} samples {whole} are neither empty nor cut off"
            )
        kept = [texts[i] for i in usable]
        prompt = [i // count for i in usable]
        samples = Samples.of(self.embed(kept), [outputs[i] for i in usable], kept)
        logprobs = _logprobs(batches)
        return Rollouts(
            samples=samples,
            prompt=prompt,
            logprobs=[logprobs[i].tolist() for i in usable],
            left_out=1 - whole / len(texts),
            collapse=collapse_metrics(batches, texts),
        )

    def candidates(self, phase: int, prompts: list[Example]) -> Rollouts:
        """`settings.candidates` samples for each prompt."""
        label, count = f"dft {phase}: candidates", self.settings.candidates
        return self.sample(prompts, count, self.seed + phase, label)

    def phase_prompts(self, phase: int) -> list[Example]:
        """The prompts of a phase: the next ones in the training set, around and around."""
        return [self.examples[i] for i in self._phase_places(phase)]

    def phase_groups(self, phase: int) -> list[str | None]:
        """The group of each prompt of a phase."""
        groups = self.groups.of_examples if self.groups else [None] * len(self.examples)
        return [groups[i] for i in self._phase_places(phase)]

    def _phase_places(self, phase: int) -> list[int]:
        count = min(self.settings.prompts, len(self.examples))
        start = (phase - 1) * count
        return [i % len(self.examples) for i in range(start, start + count)]
