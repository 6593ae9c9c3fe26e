"""One phase of DFT by on-policy policy gradient: the witness of each discrepancy is the reward of a sample.

Policy gradient on the witness is gradient descent on the discrepancy. Samples of one prompt are compared with each
other (leave-one-out baselines), updates are clipped as in PPO (Schulman et al. 2017, https://arxiv.org/abs/1707.06347),
and the adapter that is kept is an average of those along the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.expected_reward import expected_reward
from dftfast.dft.ngram_reward import NGramReward
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import KINDS
from dftfast.distribution.samples import Samples
from dftfast.kernels import linear_cross_entropy
from dftfast.model.decoder import Decoder
from dftfast.model.lora import adapter_off
from dftfast.optimise.fit import FitSettings, train
from dftfast.optimise.likelihood import completion_states, own_token_logprobs, token_logprobs
from dftfast.optimise.packing import Example, PackedBatch
from dftfast.runtime.profile import stage

WINDOW = 8  # rounds of rollouts that stand for the policy's distribution


def policy_gradient_phase(context: PhaseContext, phase: int) -> dict:
    """Train one adapter and leave it live on the policy. Returns the rewards' history."""
    return PolicyGradient(context, phase, context.settings.weights.model_dump()).run()


class PolicyGradient:
    """Rounds of sampling and updating.

    Args:
        weights: of the discrepancies by name, as in ``dft.weights``. The n-gram term has per-token rewards of every
            possible next token and enters by its exact expected gradient; the others reward whole samples.
        demonstrations: human texts in each round for each sample, with the reward of one spread above the mean.
    """

    def __init__(
        self,
        context: PhaseContext,
        phase: int,
        weights: dict[str, float],
        demonstrations: float = 0.0,
    ):
        self.context, self.phase, self.demonstrations = context, phase, demonstrations
        self.settings = context.settings.gradient
        self.terms = [(weights[name], make()) for name, make in KINDS.items() if weights.get(name)]
        for _, term in self.terms:
            term.fit(context.human)
        self.ngram_weight = weights.get("ngram", 0.0)
        self.ngram = NGramL2(context.policy.decoder.config.vocab_size)
        self.ngram.fit(context.human)
        self.window: deque[Samples] = deque(maxlen=WINDOW)
        self.history: list[dict] = []

    def run(self) -> dict:
        c, context = self.settings, self.context
        parameters = context.policy.begin_phase(
            context.settings.rank, context.settings.alpha, context.seed + self.phase
        )
        average = [p.detach().clone() for p in parameters]
        log = context.log.steps(f"dft {self.phase}")

        def after_step(record: dict) -> None:
            for kept, parameter in zip(average, parameters):
                kept.lerp_(parameter.detach(), 1 - c.average)
            log(record)

        settings = FitSettings(c.learning_rate, micro_tokens=context.settings.micro_tokens)
        plan, steps = self.plan(), c.rounds * c.reuse
        train(
            *(
                context.policy.decoder,
                parameters,
                plan,
                steps,
                settings,
                after_step,
                self.loss,
                self.reweigh,
            ),
            checkpoints=context.checkpoints(f"phase-{self.phase}"),
            extra={f"average.{i}": kept for i, kept in enumerate(average)},
            together=c.reuse,
        )
        with torch.no_grad():
            for parameter, kept in zip(parameters, average):
                parameter.copy_(kept)
        return {"rounds": self.history}

    def plan(self) -> Iterator[list[Example]]:
        """The texts of each update, sampled from the policy as it stands; weight 1 each until ``reweigh``.

        When a run goes on, the rounds that were done give their samples from disk once more, to fill the window.
        """
        c, context = self.settings, self.context
        prompts = context.phase_prompts(self.phase)
        own = context.checkpoints(
            f"phase-{self.phase}-rounds"
        ).folder  # the adapter that samples is live
        for number in range(c.rounds):
            some = [prompts[(number * c.prompts + i) % len(prompts)] for i in range(c.prompts)]
            temperatures = [1.0] * context.settings.candidates
            seed = context.seed + 1000 * self.phase + number
            what = f"dft {self.phase}: round {number + 1}"
            rollouts = context.sample([e.prompt for e in some], temperatures, seed, what, own)
            texts = rollouts.samples
            examples = [
                Example(some[p].prompt, texts.tokens_of(i)) for i, p in enumerate(rollouts.prompt)
            ]
            advantages = self.advantages(rollouts)
            human = some[: round(self.demonstrations * len(examples))]
            logprobs = rollouts.logprobs + token_logprobs(
                context.policy.decoder, human, context.settings.micro_tokens
            )
            with adapter_off(context.policy.decoder):
                start = token_logprobs(
                    context.policy.decoder, examples + human, context.settings.micro_tokens
                )
            self.known = {
                id(example): (advantage, torch.tensor(old), torch.tensor(reference))
                for example, advantage, old, reference in zip(
                    examples + human, advantages + [1.0] * len(human), logprobs, start
                )
            }
            for self.use in range(c.reuse):
                yield examples + human

    @stage("discrepancy")
    def advantages(self, rollouts: Rollouts) -> list[float]:
        """Reward of each sample over the mean of its prompt's other samples; unit spread."""
        samples = rollouts.samples
        self.window.append(samples)
        everything = Samples.concat(list(self.window))
        self.ngram_reward = NGramReward(self.ngram, everything)
        prompt = torch.tensor(rollouts.prompt)
        total = torch.zeros(len(samples))
        record = {"left_out": rollouts.left_out, "length": float(samples.lengths.float().mean())}
        for weight, term in self.terms:
            reward = term.witness(everything)[-len(samples) :].float().cpu()
            gap = leave_one_out(reward, prompt)
            total += weight * gap / gap.square().mean().sqrt().clamp(min=1e-12)
            record[type(term).__name__] = term.value(everything)
        record["NGramL2"] = self.ngram.value(everything)
        self.history.append(record)
        return (total / total.square().mean().sqrt().clamp(min=1e-12)).tolist()

    def reweigh(self, batch: list[Example]) -> list[Example]:
        """Weights whose likelihood gradient is that of PPO's clipped objective with a penalty on KL to the start."""
        c, decoder = self.settings, self.context.policy.decoder
        now = (
            own_token_logprobs(decoder, batch, self.context.settings.micro_tokens)
            if self.use
            else [None] * len(batch)
        )
        weighted = []
        for example, logprobs in zip(batch, now):
            advantage, old, start = self.known[id(example)]
            ratio = (
                torch.ones(len(old)) if logprobs is None else (torch.tensor(logprobs) - old).exp()
            )
            token = advantage - c.kl * (old - start)
            clipped = torch.where(token > 0, ratio > 1 + c.clip, ratio < 1 - c.clip)
            weight = torch.where(clipped, 0.0, ratio * token)
            weighted.append(Example(example.prompt, example.completion, weight.tolist()))
        return weighted

    def loss(self, decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
        hidden = completion_states(decoder, batch)
        value, _ = linear_cross_entropy(
            hidden, decoder.head_weight, batch.targets, batch.weights * scale
        )
        if not self.ngram_weight:
            return value
        expected = expected_reward(
            hidden, decoder.head_weight, lambda rows, _: self.ngram_reward.of(batch, rows)
        )
        return value - self.ngram_weight * scale * expected


def leave_one_out(reward: Tensor, prompt: Tensor) -> Tensor:
    """fp32 [n]: each reward less the mean of the others of its prompt; 0 where there are no others."""
    _, group = prompt.unique(return_inverse=True)
    count = torch.bincount(group)
    total = torch.zeros(len(count)).index_add(0, group, reward)
    others = count[group] - 1
    return torch.where(others > 0, reward - (total[group] - reward) / others.clamp(min=1), 0.0)
