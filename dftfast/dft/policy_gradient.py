"""One phase of DFT by on-policy policy gradient: discrepancies' witnesses reward samples.

Policy gradient on the witness is gradient descent on the discrepancy. Samples of one prompt are
compared with each other (leave-one-out baselines), updates are clipped as in PPO (Schulman et al.
2017, https://arxiv.org/abs/1707.06347), and the adapter that is kept is an average of those along
the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from dftfast.optimise.fit import FitSettings, LoopHooks, train
from dftfast.optimise.likelihood import completion_states, own_token_logprobs, token_logprobs
from dftfast.optimise.packing import Example, PackedBatch
from dftfast.runtime.profile import stage

WINDOW = 8  # rounds of rollouts that stand for the policy's distribution


@dataclass(frozen=True)
class DrawnText:
    """What the updates of a round know of one of its texts.

    Attributes:
        advantage: its reward over that of the others of its prompt.
        drawn: log-probability of each token when it was sampled.
        start: log-probability of each token under the model that the phase starts from.
    """

    advantage: float
    drawn: Tensor
    start: Tensor


def policy_gradient_phase(context: PhaseContext, phase: int) -> dict:
    """Train one adapter and leave it live on the policy; the history of the rewards."""
    return PolicyGradient(context, phase, context.settings.weights.model_dump()).run()


class PolicyGradient:
    """Rounds of sampling and updating.

    Args:
        weights: of the discrepancies by name, as in `dft.weights`. The n-gram term has per-token
            rewards of every possible next token and enters by its exact expected gradient; the
            others reward whole samples.
        demonstrations: human texts in each round for each sample, with the reward of one spread
            above the mean.
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
        self.micro_tokens = context.settings.micro_tokens
        self.terms = [(weights[name], make()) for name, make in KINDS.items() if weights.get(name)]
        for _, term in self.terms:
            term.fit(context.human)
        self.ngram_weight = weights.get("ngram", 0.0)
        self.ngram = NGramL2(context.policy.decoder.config.vocab_size)
        self.ngram.fit(context.human)
        self.window: deque[Samples] = deque(maxlen=WINDOW)
        self.history: list[dict] = []
        self.texts: dict[int, DrawnText] = {}  # by id of the round's examples
        self.update = 0  # of the round

    def run(self) -> dict:
        settings, context = self.settings, self.context
        parameters = context.policy.begin_phase(
            context.settings.rank, context.settings.alpha, context.seed + self.phase
        )
        average = [p.detach().clone() for p in parameters]
        log = context.log.steps(f"dft {self.phase}")

        def after_step(record: dict) -> None:
            for kept, parameter in zip(average, parameters):
                kept.lerp_(parameter.detach(), 1 - settings.average)
            log(record)

        hooks = LoopHooks(
            loss=self.loss,
            reweigh=self.reweigh,
            checkpoints=context.checkpoints(f"phase-{self.phase}"),
            extra_state={f"average.{i}": kept for i, kept in enumerate(average)},
            updates_per_group=settings.reuse,
        )
        train(
            context.policy.decoder,
            parameters,
            plan=self.plan(),
            steps=settings.rounds * settings.reuse,
            settings=FitSettings(settings.learning_rate, micro_tokens=self.micro_tokens),
            log=after_step,
            hooks=hooks,
        )
        with torch.no_grad():
            for parameter, kept in zip(parameters, average):
                parameter.copy_(kept)
        return {"rounds": self.history}

    def plan(self) -> Iterator[list[Example]]:
        """The texts of each update, sampled from the policy as it stands.

        Each weighs 1 until `reweigh`. When a run goes on, the rounds that were done give their
        samples from disk once more, to fill the window.
        """
        for number in range(self.settings.rounds):
            examples = self.draw(number)
            for update in range(self.settings.reuse):
                self.update = update
                yield examples

    def draw(self, number: int) -> list[Example]:
        """Sample the texts of a round, reward them, and add its demonstrations."""
        settings, context = self.settings, self.context
        decoder, count = context.policy.decoder, settings.prompts
        prompts = context.phase_prompts(self.phase)
        prompts = [prompts[(number * count + i) % len(prompts)] for i in range(count)]
        # the adapter that samples is live: its samples have a folder of their own
        folder = context.checkpoints(f"phase-{self.phase}-rounds").folder
        rollouts = context.sample(
            prompts,
            [1.0] * context.settings.candidates,
            context.seed + 1000 * self.phase + number,
            f"dft {self.phase}: round {number + 1}",
            folder,
        )
        own = [
            Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
            for i, p in enumerate(rollouts.prompt)
        ]
        advantages = self.advantages(rollouts)
        human = prompts[: round(self.demonstrations * len(own))]
        advantages += [1.0] * len(human)
        drawn = rollouts.logprobs + token_logprobs(decoder, human, self.micro_tokens)
        with adapter_off(decoder):
            start = token_logprobs(decoder, own + human, self.micro_tokens)
        self.texts = {
            id(example): DrawnText(advantage, torch.tensor(drawn_at), torch.tensor(start_at))
            for example, advantage, drawn_at, start_at in zip(own + human, advantages, drawn, start)
        }
        return own + human

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
        """Weigh the tokens so that likelihood has the gradient of PPO's clipped objective.

        The objective has a penalty on the KL to the phase's start.
        """
        settings, decoder = self.settings, self.context.policy.decoder
        now: Sequence[list[float] | None] = [None] * len(batch)
        if self.update:
            now = own_token_logprobs(decoder, batch, self.micro_tokens)
        weighted = []
        for example, logprobs in zip(batch, now):
            text = self.texts[id(example)]
            ratio = torch.ones(len(text.drawn))
            if logprobs is not None:
                ratio = (torch.tensor(logprobs) - text.drawn).exp()
            gain = text.advantage - settings.kl * (text.drawn - text.start)
            clipped = torch.where(gain > 0, ratio > 1 + settings.clip, ratio < 1 - settings.clip)
            weight = torch.where(clipped, 0.0, ratio * gain)
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
            hidden, decoder.head_weight, lambda rows, _: self.ngram_reward.rewards(batch, rows)
        )
        return value - self.ngram_weight * scale * expected


def leave_one_out(reward: Tensor, prompt: Tensor) -> Tensor:
    """fp32 [n]: each reward less the mean of the others of its prompt; 0 where there are none."""
    _, group = prompt.unique(return_inverse=True)
    count = torch.bincount(group)
    total = torch.zeros(len(count)).index_add(0, group, reward)
    others = count[group] - 1
    return torch.where(others > 0, reward - (total[group] - reward) / others.clamp(min=1), 0.0)
