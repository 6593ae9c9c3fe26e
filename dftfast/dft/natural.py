"""One phase of DFT: candidates are credited by their witnesses, and a matrix follows the credits.

The phase samples K candidates for each prompt and credits every one by its witness: how much more
of its kind the policy should write, as seen from human text, less the mean of its prompt. The best
small step down the discrepancy multiplies the probability of a text by exp(β credit) (mirror
descent). A policy cannot do that to every text by itself. What it can do to first order, by one
matrix, is what the texts' gradients foresee of the credit (`TextGradients`): a natural gradient.

A witness holds for a short way only, so the way is gone in steps of `STEP`, on paper: the
candidates are weighed by how likely the steps so far make them, and the witnesses are taken anew at
that weighted population. The sum of the steps is an adapter. Nothing is trained, so no noise of
an optimiser is added to that of the samples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.gradients import TextGradients, adapter_of, sides, token_gradients
from dftfast.distribution.grouped import GroupedWitnesses
from dftfast.distribution.weighted import Witnesses, centred
from dftfast.model.adapter import Adapter
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.packing import Example
from dftfast.runtime.errors import Diverged
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)

STEP = 0.1  # nats: standard deviation of the log-ratios of texts, within prompts, that it adds
STEPS = 4  # after which about 0.88 of six candidates a prompt count (effective sample size)
LEAST_FORESEEN = 0.2  # of a credit's spread: what is foreseen less is not enlarged further
LEAST_RELIABILITY = 0.1  # of the best view, below which a run ends
LARGEST_WEIGHT = 5.0  # of a candidate, in units of the mean of its prompt


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


def natural_phase(context: PhaseContext, phase: int, critic: MakeCritic = witnesses) -> dict:
    """Leave one more adapter on the policy.

    Returns:
        The reliability of each view, where the critic has it, of each step on paper what `Plan`
        records, the share of the steps' squares that the adapter holds, and the groups that the
        critic matched, where there are any.

    Raises:
        Diverged: two halves of the reference agree on no witness.
    """
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts)
    texts = [
        Example(prompts[p].prompt, rollouts.samples.tokens_of(i))
        for i, p in enumerate(rollouts.prompt)
    ]
    policy, settings = context.policy, context.settings
    projected = sides(policy.decoder, len(texts))
    read = token_gradients(policy.decoder, texts, settings.micro_tokens, projected)
    prompt, seed = np.asarray(rollouts.prompt), context.seed + phase

    def follow() -> tuple[Plan, Adapter, float]:
        judge = critic(context, prompts, rollouts, phase)
        check_reliability(getattr(judge, "reliability", {}))
        with stage("regression"):
            gradients = TextGradients(read, prompt, seed, policy.decoder.embed.device)
            plan = planned(judge, gradients)
            change = gradients.direction(plan.coefficients)
            return plan, *adapter_of(policy.decoder, change, projected, settings.rank)

    plan, adapter, held = on_rank0(follow)
    policy.add(adapter)
    return {
        "candidates": len(texts),
        "cut_or_empty": rollouts.left_out,
        "reliability": plan.reliability,
        "steps": plan.steps,
        "held_by_rank": held,
        **({"matched": plan.matched} if plan.matched else {}),
    }


def check_reliability(reliability: Mapping[str, float]) -> None:
    """Refuse to follow witnesses of which not one is reliable; by name of the view."""
    shares = ", ".join(f"{name} {share:.2f}" for name, share in reliability.items())
    log.info("reliability of the witnesses: %s", shares)
    if reliability and max(reliability.values()) < LEAST_RELIABILITY:
        raise Diverged(f"no witness is reliable ({shares}): there is nothing left to follow")


@dataclass(frozen=True)
class Plan:
    """Steps on paper.

    Attributes:
        coefficients: float64 [n], of the candidates' gradients in the sum of all steps.
        reliability: of the views, as the critic has it.
        steps: one record each and one at the end: the share of the candidates that count (effective
            sample size), the standard deviation of the texts' log-ratios, and what the critic makes
            of the weighted population.
        matched: the groups, as the critic has them; empty where it has none.
    """

    coefficients: np.ndarray
    reliability: Mapping[str, float]
    steps: list[dict]
    matched: Sequence[Mapping]


def planned(critic: Critic, gradients: TextGradients) -> Plan:
    """Steps on paper, down the discrepancy of the weighted candidates.

    What is foreseen of each part of the credit counts alike, in the proportions of the credits
    themselves: at the first step a part is enlarged by how little of it is foreseen.
    """
    prompt, ratios = gradients.prompt, np.zeros(len(gradients.prompt))
    weights, gain, coefficients = np.ones(len(prompt)), None, np.zeros(len(prompt))
    steps = [_record(critic, ratios, weights, prompt)]
    for _ in range(STEPS):
        credits = np.stack(
            [centred(part, prompt, weights) for part in critic.credits(weights).values()], axis=1
        )
        foreseen = gradients.foreseen(credits)
        if gain is None:
            share = foreseen.std(0) / np.maximum(credits.std(0), 1e-30)
            gain = 1 / np.maximum(share, LEAST_FORESEEN)
        change = foreseen @ gain
        length = STEP / max(float(change.std()), 1e-30)
        ratios += length * change
        coefficients += length * (gradients.coefficients(credits) @ gain)
        weights = importance_weights(ratios, prompt)
        steps.append(_record(critic, ratios, weights, prompt))
    log.info("%s", _plan_text(steps[0], steps[-1]))
    reliability, matched = getattr(critic, "reliability", {}), getattr(critic, "matched", [])
    return Plan(coefficients, reliability, steps, matched)


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


def importance_weights(log_ratios: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """p/p₀ of each candidate, in units of its prompt's mean, at most `LARGEST_WEIGHT`."""
    ratio = np.exp(np.clip(log_ratios, -20, 20))
    mean = np.bincount(prompt, ratio) / np.maximum(np.bincount(prompt), 1)
    return np.minimum(ratio / mean[prompt], LARGEST_WEIGHT)


def effective_share(weights: np.ndarray) -> float:
    """Effective sample size, `(Σ w)² / Σ w²`, as a share of the candidates."""
    return float(weights.sum() ** 2 / np.square(weights).sum() / len(weights))
