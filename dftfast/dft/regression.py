"""One phase of DFT by regression of log-ratios on witnesses.

The phase samples K candidates for each prompt and credits every one by its witness: how much less
of its kind the policy should write, as seen from human text, less the mean of its prompt. The best
small step down the discrepancy multiplies the probability of a text by exp(β credit). An adapter is
trained towards that by least squares: the log-ratio log p − log p₀ of each candidate, p₀ the policy
that it was drawn from, towards its target β credit (mirror descent by regression: Gao et al. 2024,
"REBEL", https://arxiv.org/abs/2404.16767). Unlike a likelihood weighted by the credit, whose
gradient never ends, it stops pushing a text where its target is reached and pulls back one that
moved by accident, most of all with its length.

A witness holds for a short way only. So the targets go up in `ROUNDS`: at each the candidates stand
for the policy as it has become, weighed by p/p₀, and the witnesses are taken anew at that weighted
population.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.distribution.samples import Samples
from dftfast.distribution.weighted import Witnesses, centred
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import FitSettings, LoopHooks, train
from dftfast.optimise.likelihood import completion_states, token_logprobs
from dftfast.optimise.packing import Example, PackedBatch
from dftfast.runtime.files import digest
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)

ROUNDS = 2
NATS = 0.7  # standard deviation of the targets of all rounds together, within prompts
LARGEST_WEIGHT = 5.0  # of a candidate, in units of the mean of its prompt


class Critic(Protocol):
    """What the candidates of a phase are credited by."""

    def reward(self, weights: np.ndarray) -> np.ndarray:
        """float64 [n], of each candidate, where the policy is the candidates so weighted."""
        ...

    def values(self, weights: np.ndarray) -> dict[str, float]:
        """What there is to log of the candidates so weighted."""
        ...


# (context, prompts, their candidates, phase) -> what credits these
MakeCritic = Callable[[PhaseContext, Sequence[Example], Rollouts, int], Critic]


def witnesses(
    context: PhaseContext, prompts: Sequence[Example], rollouts: Rollouts, phase: int
) -> Witnesses:
    """Of the candidates against the reference, the human text of their own prompt left out."""
    human: Samples = context.human
    place = {tuple(human.tokens_of(i)): i for i in range(len(human))}
    own = [place.get(tuple(example.completion), -1) for example in prompts]
    with stage("discrepancy"):
        return Witnesses(rollouts.samples, human, rollouts.prompt, own, context.seed + phase)


def regression_phase(context: PhaseContext, phase: int, critic: MakeCritic = witnesses) -> dict:
    """Train one adapter and leave it live on the policy.

    Returns:
        A record of each round, as of `Targets`.
    """
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts)
    critics: list[Critic] = []  # of rank 0 alone
    on_rank0(lambda: critics.append(critic(context, prompts, rollouts, phase)))
    samples = rollouts.samples
    texts = [
        Example(prompts[p].prompt, samples.tokens_of(i)) for i, p in enumerate(rollouts.prompt)
    ]
    targets = Targets(context, texts, rollouts, critics)
    targets.train(context, phase)
    return {
        "candidates": len(texts),
        "cut_or_empty": rollouts.left_out,
        "rounds": targets.records,
    }


class Targets:
    """The candidates of a phase and the log-ratios that they shall have.

    Args:
        critics: on rank 0 that of the candidates.

    Attributes:
        records: one a round: the share of the candidates that count (effective sample size), the
            standard deviation of their log-ratios, the share of the targets' variance that the
            log-ratios explain, and what the critic makes of the weighted population.
    """

    def __init__(
        self,
        context: PhaseContext,
        texts: list[Example],
        rollouts: Rollouts,
        critics: Sequence[Critic],
    ):
        self.texts, self.critics = texts, critics
        self.prompt = np.asarray(rollouts.prompt)
        self.decoder, self.micro_tokens = context.policy.decoder, context.settings.micro_tokens
        self.drawn = token_logprobs(self.decoder, texts, self.micro_tokens)
        self.start = np.array(list(map(sum, self.drawn)))
        self.wanted = np.zeros(len(texts))
        # of every round, which a resumed phase does not measure again
        self.ratios = torch.full((ROUNDS, len(texts)), torch.nan, dtype=torch.float64)
        self.ratios[0] = 0
        self.scale: float | None = None  # of credits, that makes them targets
        self.records: list[dict] = []

    def train(self, context: PhaseContext, phase: int) -> None:
        """Put a fresh adapter on the decoder and train it, one epoch over the candidates."""
        settings, seed = context.settings, context.seed + phase
        parameters = context.policy.begin_phase(settings.rank, settings.rank, seed)
        steps = prompts_together(self.texts, self.prompt, settings.batch_tokens, seed)
        fit = FitSettings(
            settings.learning_rate,
            batch_tokens=settings.batch_tokens,
            micro_tokens=settings.micro_tokens,
        )
        hooks = LoopHooks(
            loss=squared_residual,
            checkpoints=context.checkpoints(f"phase-{phase}"),
            inputs=digest(asdict(fit), seed, settings.rank, self.texts),
            extra_state={"log_ratios": self.ratios},
        )
        log_step = context.log.steps(f"dft {phase}")
        train(self.decoder, parameters, self._plan(steps), len(steps), fit, log_step, hooks)

    def _plan(self, steps: list[list[int]]) -> Iterator[list[Example]]:
        """The examples of every step, with their targets as the round has them."""
        for step, members in enumerate(steps):
            round_ = step * ROUNDS // len(steps)
            if step == 0 or round_ != (step - 1) * ROUNDS // len(steps):
                self._raise(round_)
            yield [self._with_target(i) for i in members]

    def _raise(self, round_: int) -> None:
        """Add the credits at the policy as it is now to the targets."""
        if self.ratios[round_].isnan().any():
            self.ratios[round_] = torch.from_numpy(self._log_ratios())
        ratios = self.ratios[round_].numpy()
        weights = self._record(ratios)
        credit = on_rank0(lambda: centred(self.critics[0].reward(weights), self.prompt, weights))
        if self.scale is None:
            self.scale = NATS / ROUNDS / max(float(credit.std()), 1e-30)
        self.wanted += self.scale * credit

    def _with_target(self, i: int) -> Example:
        """A candidate whose weights are the log-probabilities that its tokens shall have in sum."""
        share = self.wanted[i] / len(self.drawn[i])
        text = self.texts[i]
        return Example(text.prompt, text.completion, [p + share for p in self.drawn[i]])

    def _log_ratios(self) -> np.ndarray:
        now = token_logprobs(self.decoder, self.texts, self.micro_tokens)
        return np.array(list(map(sum, now))) - self.start

    def _record(self, ratios: np.ndarray) -> np.ndarray:
        """Record where the policy stands; the candidates' weights there."""
        weights = importance_weights(ratios, self.prompt)
        alike = np.ones(len(weights))
        residual = centred(ratios - self.wanted, self.prompt, alike)
        wanted = float(np.square(centred(self.wanted, self.prompt, alike)).sum())
        record = {
            "effective_share": effective_share(weights),
            "nats": float(ratios.std()),
            "explained": 1 - float(np.square(residual).sum()) / wanted if wanted else 0.0,
            **on_rank0(lambda: self.critics[0].values(weights)),
        }
        self.records.append(record)
        log.info(
            "round %d: %s", len(self.records), ", ".join(f"{k} {v:.5g}" for k, v in record.items())
        )
        return weights


def importance_weights(log_ratios: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """p/p₀ of each candidate, in units of its prompt's mean, at most `LARGEST_WEIGHT`."""
    ratio = np.exp(np.clip(log_ratios, -20, 20))
    mean = np.bincount(prompt, ratio) / np.maximum(np.bincount(prompt), 1)
    return np.minimum(ratio / mean[prompt], LARGEST_WEIGHT)


def effective_share(weights: np.ndarray) -> float:
    """Effective sample size, `(Σ w)² / Σ w²`, as a share of the candidates."""
    return float(weights.sum() ** 2 / np.square(weights).sum() / len(weights))


def prompts_together(
    texts: Sequence[Example], prompt: np.ndarray, tokens: int, seed: int
) -> list[list[int]]:
    """The candidates of every step: all of some prompts, of about `tokens` tokens, at random.

    A prompt's own tokens count once, as they are computed once.
    """
    order = np.unique(prompt).tolist()
    random.Random(seed).shuffle(order)
    steps: list[list[int]] = []
    room = 0
    for p in order:
        members = np.flatnonzero(prompt == p).tolist()
        size = len(texts[members[0]].prompt) + sum(len(texts[i].completion) for i in members)
        if not steps or size > room:
            steps.append([])
            room = tokens
        steps[-1] += members
        room -= size
    return steps


def squared_residual(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """`scale · Σ (log p − Σ w)²` over the texts of the batch, w the weights of their tokens."""
    states = completion_states(decoder, batch)
    logprob, _ = linear_logprob(states, decoder.head_weight, batch.targets)
    zeros = torch.zeros(len(batch.offsets) - 1, device=logprob.device)
    return scale * zeros.index_add(0, batch.documents, logprob - batch.weights).square().sum()
