"""One phase of DFT by regression of log-ratios on witnesses.

The phase samples K candidates for each prompt and credits every one by its witness: how much more
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
from dftfast.dft.pieces import Pieces, cut, examples, groups, piece_rollouts
from dftfast.distribution.weighted import Witnesses, centred
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import FitSettings, LoopHooks, train
from dftfast.optimise.likelihood import completion_states, token_logprobs
from dftfast.optimise.packing import Example, PackedBatch
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import digest
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)

ROUNDS = 2
NATS = 0.7  # standard deviation of the targets of all rounds together, within prompts
LEAST_RELIABILITY = 0.1  # of the best view, below which a run ends
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
    own = [example.completion for example in prompts]
    seed = context.seed + phase
    with stage("discrepancy"):
        return Witnesses(rollouts.samples, context.human, rollouts.prompt, own, seed)


def regression_phase(
    context: PhaseContext, phase: int, critic: MakeCritic = witnesses, by_piece: bool = True
) -> dict:
    """Train one adapter and leave it live on the policy.

    Args:
        by_piece: credit long texts piece by piece, too.

    Returns:
        The reliability of each view, where the critic has it, and a record of each round as of
        `Targets`.

    Raises:
        Diverged: two halves of the reference agree on no witness.
    """
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts)
    pieces = cut(context, rollouts.samples)
    critics: list[Critic] = []  # of rank 0 alone: of the texts, and of the pieces
    on_rank0(lambda: critics.append(critic(context, prompts, rollouts, phase)))
    if by_piece and pieces.several:
        parts = piece_rollouts(context, prompts, rollouts, pieces)
        on_rank0(lambda: critics.append(critic(*parts, phase)))
    reliability = on_rank0(lambda: getattr(critics[0], "reliability", {}))
    check_reliability(reliability)
    targets = Targets(context, prompts, rollouts, pieces, critics)
    targets.train(context, phase)
    return {
        "candidates": len(rollouts.samples),
        "cut_or_empty": rollouts.left_out,
        "reliability": reliability,
        "rounds": targets.records,
    }


def check_reliability(reliability: dict[str, float]) -> None:
    """Refuse to follow witnesses of which not one is reliable; by name of the view."""
    shares = ", ".join(f"{name} {share:.2f}" for name, share in reliability.items())
    log.info("reliability of the witnesses: %s", shares)
    if reliability and max(reliability.values()) < LEAST_RELIABILITY:
        raise Diverged(f"no witness is reliable ({shares}): there is nothing left to follow")


class Targets:
    """The candidates of a phase, in their pieces, and the log-ratios that these shall have.

    Args:
        critics: on rank 0 that of the texts, and that of the pieces where they are looked at.

    Attributes:
        records: one a round: the share of the candidates that count (effective sample size), the
            standard deviation of the pieces' log-ratios, the share of the targets' variance that
            the log-ratios explain, and what the critic makes of the weighted population.
    """

    def __init__(
        self,
        context: PhaseContext,
        prompts: Sequence[Example],
        rollouts: Rollouts,
        pieces: Pieces,
        critics: Sequence[Critic],
    ):
        self.critics, self.text = critics, pieces.text
        self.texts = examples(pieces, prompts, rollouts.prompt)
        self.prompt = np.asarray(rollouts.prompt)
        self.group = groups(pieces, rollouts.prompt)
        self.decoder, self.micro_tokens = context.policy.decoder, context.settings.micro_tokens
        self.drawn = token_logprobs(self.decoder, self.texts, self.micro_tokens)
        self.start = np.array(list(map(sum, self.drawn)))
        self.wanted = np.zeros(len(self.texts))
        # of every round, which a resumed phase does not measure again
        self.ratios = torch.full((ROUNDS, len(self.texts)), torch.nan, dtype=torch.float64)
        self.ratios[0] = 0
        self.scale: float | None = None  # of credits, that makes them targets
        self.records: list[dict] = []

    def train(self, context: PhaseContext, phase: int) -> None:
        """Put a fresh adapter on the decoder and train it, one epoch over the candidates."""
        settings, seed = context.settings, context.seed + phase
        parameters = context.policy.begin_phase(settings.rank, settings.rank, seed)
        steps = prompts_together(self.texts, self.prompt[self.text], settings.batch_tokens, seed)
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
        credit = self._credit(self.ratios[round_].numpy())
        if self.scale is None:
            self.scale = NATS / ROUNDS / max(float(credit.std()), 1e-30)
        self.wanted += self.scale * credit

    def _credit(self, ratios: np.ndarray) -> np.ndarray:
        """float64 of each piece, where the policy has these log-ratios: recorded, too.

        A text's credit is shared out to its pieces; each has its own besides, where there are
        several.
        """
        whole = importance_weights(np.bincount(self.text, ratios), self.prompt)
        self._record(ratios, whole)
        of_text = on_rank0(lambda: centred(self.critics[0].reward(whole), self.prompt, whole))
        credit = (of_text / np.bincount(self.text))[self.text]
        if on_rank0(lambda: len(self.critics) > 1):
            part = importance_weights(ratios, self.group)
            credit += on_rank0(lambda: centred(self.critics[1].reward(part), self.group, part))
        return credit

    def _with_target(self, i: int) -> Example:
        """A candidate whose weights are the log-probabilities that its tokens shall have in sum."""
        share = self.wanted[i] / len(self.drawn[i])
        text = self.texts[i]
        return Example(text.prompt, text.completion, [p + share for p in self.drawn[i]])

    def _log_ratios(self) -> np.ndarray:
        now = token_logprobs(self.decoder, self.texts, self.micro_tokens)
        return np.array(list(map(sum, now))) - self.start

    def _record(self, ratios: np.ndarray, weights: np.ndarray) -> None:
        """Record where the policy stands: `ratios` of the pieces, `weights` of the texts."""
        alike = np.ones(len(ratios))
        residual = centred(ratios - self.wanted, self.group, alike)
        wanted = float(np.square(centred(self.wanted, self.group, alike)).sum())
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
