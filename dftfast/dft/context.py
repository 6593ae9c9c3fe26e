"""What a phase of distribution fine-tuning works with: the policy, prompts, human texts, and how to sample and train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dftfast.dft.collapse import collapse_metrics
from dftfast.dft.stored_rollouts import generate
from dftfast.distribution.samples import Samples
from dftfast.model.policy import Policy
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.log import RunLog
from dftfast.optimise.packing import Example
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import Diverged


@dataclass
class Rollouts:
    """Samples that are not empty, and the share of all that is empty or was cut off.

    Attributes:
        prompt: the index of each sample's prompt.
        finished: whether each ended by itself; the others were cut by the length limit.
        logprobs: of each sample's tokens under the model, untempered, in nats.
        collapse: of all samples, those left out included.
    """

    samples: Samples
    prompt: list[int]
    finished: list[bool]
    logprobs: list[list[float]]
    left_out: float
    collapse: dict[str, float]


@dataclass
class PhaseContext:
    """What a phase works with.

    Attributes:
        embed: texts -> fp32 [n, d].
        examples: training prompts with their human completions; phases take the prompts in turn.
        human: the reference: human texts that discrepancies are fitted on.
        validation: prompts that choose the phase; validation_human: human texts of other prompts, which no phase sees. A text is
            closer to the human one of its own prompt, which would lower MMD² by as much as a good policy has of it.
        max_tokens: length limit of a rollout.
        settings: the ``dft`` section of the configuration.
        folder: where phases are kept.
        checkpoints: those of a training loop by name.
        rollouts: folder of samples by what they were sampled from, which tasks may share.
    """

    policy: Policy
    engine: RolloutEngine
    tokenizer: Tokenizer
    embed: Callable[[list[str]], Tensor]
    examples: list[Example]
    human: Samples
    validation: list[Example]
    validation_human: Samples
    max_tokens: int
    settings: object
    seed: int
    folder: Path
    log: RunLog
    checkpoints: Callable[[str], Checkpoints]
    rollouts: Path

    def sample(
        self,
        prompts: list[list[int]],
        temperatures: list[float],
        seed: int,
        what: str,
        folder: Path | None = None,
        cut: bool = False,
    ) -> Rollouts:
        """One sample for each prompt and temperature, from the whole distribution but for ``settings.min_p``.

        They are kept in ``folder``; while an adapter is live it must be one of that adapter alone. Empty texts are left
        out, and without ``cut`` those that the length limit cut.
        """
        folder, min_p = (
            folder or self.rollouts / on_rank0(self.policy.fingerprint),
            self.settings.min_p,
        )
        requests = [
            Request(
                p * len(temperatures) + t,
                prompt,
                Sampler(temperature, min_p=min_p, max_tokens=self.max_tokens),
                seed,
            )
            for p, prompt in enumerate(prompts)
            for t, temperature in enumerate(temperatures)
        ]
        batches = generate(self.engine, requests, folder, what)
        outputs = [batch.output(i) for batch in batches for i in range(len(batch))]
        reasons = [reason for batch in batches for reason in batch.finish_reason]
        texts = [self.tokenizer.decode(output).strip() for output in outputs]
        finished = [reason == "stop" for reason in reasons]
        usable = [i for i, text in enumerate(texts) if text and (cut or finished[i])]
        whole = sum(finished[i] for i in usable)
        if whole < 2:
            raise Diverged(f"{what}: of {len(texts)} samples {whole} are neither empty nor cut off")
        kept = [texts[i] for i in usable]
        prompt = [i // len(temperatures) for i in usable]
        asked = [self.tokenizer.decode(p) for p in prompts]
        about = self.embed(asked)[prompt] if self.settings.weights.conditional_mmd else None
        samples = Samples.of(
            self.embed(kept), [outputs[i] for i in usable], kept, about, [asked[p] for p in prompt]
        )
        logprobs = [
            part
            for batch in batches
            for part in batch.logprobs.split(batch.offsets.diff().tolist())
        ]
        return Rollouts(
            samples=samples,
            prompt=prompt,
            finished=[finished[i] for i in usable],
            logprobs=[logprobs[i].tolist() for i in usable],
            left_out=1 - whole / len(texts),
            collapse=collapse_metrics(batches, texts),
        )

    def candidates(self, phase: int, prompts: list[Example], cut: bool = False) -> Rollouts:
        """``settings.candidates`` samples for each prompt, spread over the candidate temperatures."""
        c = self.settings
        temperatures = [
            c.candidate_temperatures[k % len(c.candidate_temperatures)] for k in range(c.candidates)
        ]
        asked, what = [e.prompt for e in prompts], f"dft {phase}: candidates"
        return self.sample(asked, temperatures, self.seed + phase, what, cut=cut)

    def learn(self, phase: int, examples: list[Example], **how) -> None:
        """Train a fresh adapter on the examples and leave it live; ``how`` goes to ``fit``."""
        c, seed = self.settings, self.seed + phase
        parameters = self.policy.begin_phase(c.rank, c.alpha, seed)
        settings = FitSettings(
            c.learning_rate,
            c.epochs,
            c.batch_tokens,
            c.micro_tokens,
            loss_limit=0 if how else c.guards.loss,
        )
        steps, checkpoints = self.log.steps(f"dft {phase}"), self.checkpoints(f"phase-{phase}")
        fit(
            self.policy.decoder,
            parameters,
            examples,
            settings,
            seed,
            steps,
            checkpoints=checkpoints,
            **how,
        )

    def phase_prompts(self, phase: int) -> list[Example]:
        """The prompts of a phase: the next ones in the training set, around and around."""
        count = min(self.settings.prompts, len(self.examples))
        start = (phase - 1) * count
        return [self.examples[i % len(self.examples)] for i in range(start, start + count)]
