"""Distribution fine-tuning: phases that move the policy's output distribution towards human text.

A phase samples from the policy, follows the first variation of the discrepancies with one of ``METHODS``,
and leaves one more adapter on the policy. After each phase the policy is measured on tuning prompts at the
final sampler; the phase with the smallest discrepancy there is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..distribution.samples import Samples
from ..model.policy import Policy
from ..model.tokenizer import Tokenizer
from ..rollout.engine import RolloutEngine
from ..rollout.request import Request
from ..rollout.sampler import Sampler
from .packing import Example


@dataclass
class Task:
    """What a phase works with.

    Attributes:
        examples: training prompts with their human completions; phases take the prompts in turn.
        human: the bank that discrepancies are fitted on (training texts).
        tuning: prompts for the choice of phase; tuning_human: their human texts.
        embed: texts -> fp32 [n, d].
        max_tokens: length limit of a rollout.
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
    log: Callable[..., None]

    def sample(self, prompts: list[list[int]], temperatures: list[float], seed: int, progress=None) -> Rollouts:
        """One sample for each prompt and temperature, without truncation of the distribution."""
        requests = [
            Request(p * len(temperatures) + t, prompt, Sampler(temperature, max_tokens=self.max_tokens), seed)
            for p, prompt in enumerate(prompts)
            for t, temperature in enumerate(temperatures)
        ]
        batch = self.engine.generate(requests, progress)
        texts = [self.tokenizer.decode(batch.output(i)).strip() for i in range(len(batch))]
        usable = [i for i, text in enumerate(texts) if batch.finish_reason[i] == "stop" and text]
        samples = Samples(self.embed(texts), batch.tokens.cpu(), batch.offsets.cpu(), texts)
        return Rollouts(samples.select(usable), [i // len(temperatures) for i in usable], 1 - len(usable) / len(texts))


@dataclass
class Rollouts:
    """Finished samples, the index of each one's prompt, and the share that was cut off or empty and left out."""

    samples: Samples
    prompt: list[int]
    left_out: float
