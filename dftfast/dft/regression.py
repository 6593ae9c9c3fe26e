"""One phase of DFT: candidates are credited by their witnesses, their tokens by what these foresee.

The phase samples K candidates for each prompt and credits every one by its witness: how much more
of its kind the policy should write, as seen from human text, less the mean of its prompt. The best
small step down the discrepancy multiplies the probability of a text by exp(β credit) (mirror
descent). A witness holds for a short way only, so the way is gone in steps of `STEP`, on paper:
the candidates are weighed by how likely the steps so far make them, and the witnesses are taken
anew at that weighted population.

Each step is a sum over tokens, for a text's credit is replaced by what its tokens foresee of it
(`PrefixValues`). So every token has a log-ratio log p − log p₀ that it shall have, p₀ the policy
that wrote it, and an adapter is trained towards these by least squares (regression of log-ratios:
Gao et al. 2024, "REBEL", https://arxiv.org/abs/2404.16767). Unlike a likelihood weighted by the
credit, whose gradient never ends, it stops pushing where a target is reached, and pulls back what
moved by accident.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.values import PrefixValues
from dftfast.distribution.grouped import GroupedWitnesses
from dftfast.distribution.weighted import Witnesses, centred
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import FitSettings, LoopHooks, train
from dftfast.optimise.likelihood import completion_states, logprobs_and_states
from dftfast.optimise.packing import Example, PackedBatch
from dftfast.runtime.errors import Diverged
from dftfast.runtime.files import digest
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)

STEP = 0.1  # nats: standard deviation of the log-ratios of texts, within prompts, that it adds
STEPS = 8  # after which about 0.65 of six candidates a prompt count (effective sample size)
LEAST_FORESEEN = 0.2  # of a credit's spread: what is foreseen less is not enlarged further
LEAST_RELIABILITY = 0.1  # of the best view, below which a run ends
LARGEST_WEIGHT = 5.0  # of a candidate, in units of the mean of its prompt
STATE_WIDTH = 640  # coordinates of a hidden state that values are fitted on
STATE_BYTES = 4 << 30  # of all hidden states, beyond which they have fewer coordinates


class Critic(Protocol):
    """What the candidates of a phase are credited by."""

    def credits(self, weights: np.ndarray) -> Mapping[str, np.ndarray]:
        """float64 [n] by name: parts of the credit of each candidate.

        Args:
            weights: float64 [n], of the candidates; so weighted, they stand for the policy.
        """
        ...

    def values(self, weights: np.ndarray) -> dict[str, float]:
        """What there is to log of the candidates so weighted."""
        ...


# (context, prompts, their candidates, phase) -> what credits these
MakeCritic = Callable[[PhaseContext, Sequence[Example], Rollouts, int], Critic]


def witnesses(
    context: PhaseContext, prompts: Sequence[Example], rollouts: Rollouts, phase: int
) -> Witnesses | GroupedWitnesses:
    """Of the candidates against the reference, the human text of their own prompt left out."""
    own = [example.completion for example in prompts]
    given = (rollouts.samples, context.human, rollouts.prompt, own, context.seed + phase)
    with stage("discrepancy"):
        if not context.groups:
            return Witnesses(*given)
        found = GroupedWitnesses(*given, context.groups.texts, context.phase_groups(phase))
    log.info("matched within groups: %s", ", ".join(map(_matched, found.matched)))
    return found


def _matched(part: Mapping) -> str:
    name = "all texts" if part["group"] is None else part["group"]
    return f"{name} ({part['prompts']} prompts)"


def regression_phase(context: PhaseContext, phase: int, critic: MakeCritic = witnesses) -> dict:
    """Train one adapter and leave it live on the policy.

    Returns:
        The reliability of each view, where the critic has it, and of each step on paper what
        `Plan` records, and the groups that it matched, where there are any.

    Raises:
        Diverged: two halves of the reference agree on no witness.
    """
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts)
    texts = [
        Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
        for i, p in enumerate(rollouts.prompt)
    ]
    width = state_width(texts)
    read = logprobs_and_states(context.policy.decoder, texts, context.settings.micro_tokens, width)
    prompt, seed = np.asarray(rollouts.prompt), context.seed + phase

    def plan() -> Plan:
        judge = critic(context, prompts, rollouts, phase)
        check_reliability(getattr(judge, "reliability", {}))
        with stage("values"):
            return planned(judge, PrefixValues([states for _, states in read], prompt, seed))

    made = on_rank0(plan)
    wanted = with_targets(texts, [logprobs for logprobs, _ in read], made)
    train_towards(context, phase, wanted, prompt)
    return {
        "candidates": len(texts),
        "cut_or_empty": rollouts.left_out,
        "reliability": made.reliability,
        "steps": made.steps,
        **({"matched": made.matched} if made.matched else {}),
    }


def state_width(texts: Sequence[Example]) -> int:
    """Coordinates of a hidden state that leave all of them within `STATE_BYTES`, in fp16."""
    tokens = sum(len(text.completion) for text in texts)
    return max(64, min(STATE_WIDTH, STATE_BYTES // (2 * tokens)))


def check_reliability(reliability: Mapping[str, float]) -> None:
    """Refuse to follow witnesses of which not one is reliable; by name of the view."""
    shares = ", ".join(f"{name} {share:.2f}" for name, share in reliability.items())
    log.info("reliability of the witnesses: %s", shares)
    if reliability and max(reliability.values()) < LEAST_RELIABILITY:
        raise Diverged(f"no witness is reliable ({shares}): there is nothing left to follow")


@dataclass(frozen=True)
class Plan:
    """The log-ratios that the tokens of the candidates shall have.

    Attributes:
        log_ratios: float64 [tokens], one text's after another's.
        reliability: of the views, as the critic has it.
        steps: on paper, one record each and one at the end: the share of the candidates that count
            (effective sample size), the standard deviation of the texts' log-ratios, and what the
            critic makes of the weighted population.
        matched: the groups, as the critic has them; empty where it has none.
    """

    log_ratios: np.ndarray
    reliability: Mapping[str, float]
    steps: list[dict]
    matched: Sequence[Mapping]


def planned(critic: Critic, values: PrefixValues) -> Plan:
    """Steps on paper, down the discrepancy of the weighted candidates.

    What is foreseen of each part of the credit counts alike, in the proportions of the credits
    themselves: at the first step a part is enlarged by how little of it is foreseen.
    """
    prompt, ratios = values.prompt, np.zeros(values.offsets[-1])
    weights, gain = np.ones(len(prompt)), None
    steps = [_record(critic, values.of_texts(ratios), weights, prompt)]
    for _ in range(STEPS):
        credits = np.stack(
            [centred(part, prompt, weights) for part in critic.credits(weights).values()], axis=1
        )
        changes = values.changes(credits)
        if gain is None:
            foreseen = values.foreseen(changes) / np.maximum(credits.std(0), 1e-30)
            gain = 1 / np.maximum(foreseen, LEAST_FORESEEN)
        change = changes @ gain
        ratios += STEP / max(float(values.foreseen(change[:, None])[0]), 1e-30) * change
        weights = importance_weights(values.of_texts(ratios), prompt)
        steps.append(_record(critic, values.of_texts(ratios), weights, prompt))
    log.info("%s", _plan_text(steps[0], steps[-1]))
    reliability, matched = getattr(critic, "reliability", {}), getattr(critic, "matched", [])
    return Plan(ratios, reliability, steps, matched)


def _record(critic: Critic, ratios: np.ndarray, weights: np.ndarray, prompt: np.ndarray) -> dict:
    return {
        "effective_share": effective_share(weights),
        "nats": float(centred(ratios, prompt, np.ones(len(ratios))).std()),
        **critic.values(weights),
    }


def _plan_text(first: dict, last: dict) -> str:
    left = [
        f"{name} {max(last[name] / value, 0):.0%}"
        for name, value in first.items()
        if name not in ("effective_share", "nats") and value > 0
    ]
    return (
        f"planned: {last['nats']:.2f} nats a text, effective share of the candidates "
        f"{last['effective_share']:.2f}\n  left of the distances: {', '.join(left) or 'none'}"
    )


def with_targets(
    texts: Sequence[Example], drawn: Sequence[Sequence[float]], plan: Plan
) -> list[Example]:
    """The texts, their weights the log-probabilities that their tokens shall have."""
    ratios, wanted = iter(plan.log_ratios.tolist()), []
    for text, logprobs in zip(texts, drawn):
        weights = [p + next(ratios) for p in logprobs]
        wanted.append(Example(text.prompt, text.completion, weights))
    return wanted


def train_towards(
    context: PhaseContext, phase: int, texts: list[Example], prompt: np.ndarray
) -> None:
    """Put a fresh adapter on the decoder and train it, one epoch over the candidates."""
    settings, seed = context.settings, context.seed + phase
    parameters = context.policy.begin_phase(settings.rank, settings.rank, seed)
    steps = prompts_together(texts, prompt, settings.batch_tokens, seed)
    fit = FitSettings(
        settings.learning_rate,
        batch_tokens=settings.batch_tokens,
        micro_tokens=settings.micro_tokens,
    )
    hooks = LoopHooks(
        loss=squared_residual,
        checkpoints=context.checkpoints(f"phase-{phase}"),
        # not their targets: a forward pass may differ in the last bits of a number
        inputs=digest(asdict(fit), seed, settings.rank, [(t.prompt, t.completion) for t in texts]),
    )
    plan = ([texts[i] for i in members] for members in steps)
    log_step = context.log.steps(f"dft {phase}")
    train(context.policy.decoder, parameters, plan, len(steps), fit, log_step, hooks)


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
    """`scale · Σ (log p − w)²` over the tokens of the batch, w their weights."""
    states = completion_states(decoder, batch)
    logprob, _ = linear_logprob(states, decoder.head_weight, batch.targets)
    return scale * (logprob - batch.weights).square().sum()
