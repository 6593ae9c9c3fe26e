"""One phase of DFT by population selection: sample, choose, learn the chosen and unlearn the rejected.

Of K candidates for each prompt one is chosen, so that the chosen population lies beyond human text as seen from the
policy, and one rejected, so that the rejected population lies as far on the other side. Only what ended by itself is
chosen, and what the length limit cut, mostly a loop, is what is rejected of its prompt. A fresh LoRA learns the one by
likelihood, against the other. Human completions of some prompts may be mixed in.

A text is chosen or rejected as a whole, and most of its tokens have no part in that. Of repetition it is known which have:
``dft.repeats`` lets them weigh more where the policy repeats itself more than people do (the negative half of unlikelihood
training, Welleck et al. 2020, https://arxiv.org/abs/1908.04319, with a mark to end at).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dftfast.dft.collapse import repeated, repetition
from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.samples import Samples
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.likelihood import completion_states
from dftfast.optimise.packing import Example, PackedBatch

log = logging.getLogger(__name__)


def selection_phase(context: PhaseContext, phase: int) -> dict:
    """Train one adapter and leave it live on the policy. Returns what was chosen from and the history of the choice."""
    c = context.settings
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts, cut=True)
    candidates = rollouts.samples

    choice = lambda: choose(
        context, c, candidates, rollouts.prompt, rollouts.finished, phase, first_weights(context)
    )
    (chosen, history), *rejected_choice = on_rank0(choice)
    _log_choice(phase, history[0], history[-1])
    text = lambda i, weight: Example(
        prompts[rollouts.prompt[i]].prompt, candidates.tokens_of(i), weight
    )
    examples = [text(i, 1.0) for i in chosen]
    rejected = {rollouts.prompt[i]: i for texts, _ in rejected_choice for i in texts}
    more = c.repeats * excess_repetition(context, rollouts, phase) if c.repeats else 0.0
    against = {
        id(example): text(
            bad, rejection(candidates.tokens_of(bad), rollouts.logprobs[bad], c.contrast, more)
        )
        for example, good in zip(examples, chosen)
        if (bad := rejected.get(rollouts.prompt[good], good)) != good
    }
    # a pair side by side, so that it shares its prompt
    pairs = lambda batch: [one for e in batch for one in (e, against.get(id(e))) if one is not None]
    how = {"reweigh": pairs, "loss": contrast}
    context.learn(
        phase, examples + prompts[: round(c.human_share * len(chosen))], **how if against else {}
    )
    histories = {name: history for name, (_, history) in zip(["rejected"], rejected_choice)}
    return {
        "candidates": len(candidates),
        "cut_or_empty": rollouts.left_out,
        "selection": history,
        **histories,
    }


def choose(
    context: PhaseContext,
    settings,
    candidates: Samples,
    prompt: Sequence[int],
    finished: Sequence[bool],
    phase: int,
    weights: dict[str, float] | None = None,
) -> list[tuple[list[int], list[dict]]]:
    """What ``select_population`` returns for the chosen, out of the ``finished``, and, where ``settings`` (a ``dft``
    section) ask for contrast, for the rejected, out of those that did not finish where a prompt has one."""
    terms = make_terms(
        candidates,
        context.human,
        context.policy.decoder.config.vocab_size,
        settings.weights.model_dump(),
    )
    seed, overshoot = context.seed + phase, settings.overshoot
    choices = [
        select_population(prompt, terms, seed, overshoot, weights, among=np.flatnonzero(finished))
    ]
    if settings.contrast:
        weights, of, cut = weights_of(choices[0][1]), np.asarray(prompt), ~np.asarray(finished)
        rejectable = np.flatnonzero(cut | ~np.isin(of, of[cut]))
        choices.append(
            select_population(prompt, terms, seed, -2 - overshoot, weights, among=rejectable)
        )
    return choices


def rejection(
    tokens: Sequence[int], logprobs: Sequence[float], weight: float, more: float
) -> list[float]:
    """For `contrast`: minus ``weight`` over the probability that each token was drawn with, ``1 + more`` times that of a repeat."""
    return (-weight * (1 + more * repeated(tokens)) / np.exp(logprobs)).tolist()


def excess_repetition(context: PhaseContext, rollouts: Rollouts, phase: int) -> float:
    """The share of the policy's repeats, within a text, that are more than in human texts; 0 where it repeats no more."""
    people, policy = (
        repetition([context.human.tokens_of(i) for i in range(len(context.human))]),
        rollouts.collapse["repetition"],
    )
    shares = f"{100 * policy:.2f}% of the 4-grams repeat one of their text, {100 * people:.2f}% in human texts"
    log.info("dft phase %d: %s", phase, shares)
    return max(0.0, 1 - people / policy) if policy else 0.0


def first_weights(context: PhaseContext) -> dict[str, float] | None:
    """The weights of the first phase, so that all phases descend on one functional; None in the first."""
    file = context.folder / "phases.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return next(
        (weights_of(record["selection"]) for record in records if "selection" in record), None
    )


def weights_of(history: list[dict]) -> dict[str, float]:
    """By which each term entered a choice, of which ``history`` is the record."""
    return {
        name.removeprefix("weight_"): w
        for name, w in history[0].items()
        if name.startswith("weight_")
    }


def contrast(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """``scale · Σ (−w log p`` where w > 0, ``−w p`` where w < 0) over the batch's completion tokens.

    With w = −1/p₀, p₀ the probability that the token was drawn with, ``−w p`` is the importance ratio p/p₀: the
    gradient over the rejected is that of the policy as it is now, and fades as a token becomes unlikely, where that of
    a negative likelihood would grow without bound.
    """
    logprob, _ = linear_logprob(
        completion_states(decoder, batch), decoder.head_weight, batch.targets
    )
    return scale * -(batch.weights * torch.where(batch.weights > 0, logprob, logprob.exp())).sum()


def _log_choice(phase: int, at_random: dict, chosen: dict) -> None:
    """What the choice did to each discrepancy, and by which weight each entered."""
    for name in at_random:
        if f"weight_{name}" in at_random:
            weight = at_random[f"weight_{name}"]
            values = f"{at_random[name]:.5f} at random, {chosen[name]:.5f} chosen"
            log.info(
                "dft phase %d: %s of the population %s (weight %.4g)", phase, name, values, weight
            )
