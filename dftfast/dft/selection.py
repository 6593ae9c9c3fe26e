"""One phase of DFT by population selection.

The phase samples, chooses, learns the chosen and unlearns the rejected. Of K candidates for each
prompt one is chosen, so that the chosen population lies beyond human text as seen from the policy,
and one rejected, so that the rejected population lies as far on the other side. Only what ended by
itself is chosen, and what the length limit cut, mostly a loop, is what is rejected of its prompt. A
fresh LoRA learns the one by likelihood, against the other. Human completions of some prompts may be
mixed in.

A text is chosen or rejected as a whole, and most of its tokens have no part in that. Of repetition
it is known which have: `dft.repeats` lets them weigh more where the policy repeats itself more than
people do (the negative half of unlikelihood training, Welleck et al. 2020,
https://arxiv.org/abs/1908.04319, with a mark to end at).
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
from dftfast.dft.settings import PhaseSettings
from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.samples import Samples
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.distributed import on_rank0
from dftfast.optimise.fit import LoopHooks, Reweigh
from dftfast.optimise.likelihood import completion_states
from dftfast.optimise.packing import Example, PackedBatch

log = logging.getLogger(__name__)

Choice = tuple[list[int], list[dict[str, float]]]  # the candidates, the record of their selection


def selection_phase(context: PhaseContext, phase: int) -> dict:
    """Train one adapter and leave it live on the policy.

    Returns:
        What was chosen from, and the history of the choice.
    """
    settings = context.settings
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts, cut=True)
    candidates = rollouts.samples

    def choose_among_candidates() -> list[Choice]:
        weights = first_weights(context)
        return choose(
            context, settings, candidates, rollouts.prompt, rollouts.finished, phase, weights
        )

    choices = on_rank0(choose_among_candidates)
    chosen, history = choices[0]
    _log_choice(phase, history[0], history[-1])
    report = {
        "candidates": len(candidates),
        "cut_or_empty": rollouts.left_out,
        "selection": history,
    }
    rejected: list[int] = []
    if settings.contrast:
        rejected, report["rejected"] = choices[1]
    repeat_weight = 0.0
    if settings.repeats:
        repeat_weight = settings.repeats * excess_repetition(context, rollouts, phase)
    pairs = pair_up(prompts, rollouts, chosen, rejected, settings.contrast, repeat_weight)
    human = prompts[: round(settings.human_share * len(chosen))]
    hooks = None
    if any(against is not None for _, against in pairs):
        hooks = LoopHooks(loss=contrast, reweigh=beside_rejected(pairs))
    context.learn(phase, [learnt for learnt, _ in pairs] + human, hooks)
    return report


def pair_up(
    prompts: Sequence[Example],
    rollouts: Rollouts,
    chosen: Sequence[int],
    rejected: Sequence[int],
    contrast_weight: float,
    repeat_weight: float,
) -> list[tuple[Example, Example | None]]:
    """Each chosen text, and the rejected one of its prompt, weighted by `rejection`.

    There is none beside a chosen text whose prompt has no rejected one, or the same.
    """
    samples = rollouts.samples

    def example(candidate: int, weight: float | list[float]) -> Example:
        prompt = prompts[rollouts.prompt[candidate]].prompt
        return Example(prompt, samples.tokens_of(candidate), weight)

    rejected_of_prompt = {rollouts.prompt[candidate]: candidate for candidate in rejected}
    pairs: list[tuple[Example, Example | None]] = []
    for good in chosen:
        bad = rejected_of_prompt.get(rollouts.prompt[good], good)
        against = None
        if bad != good:
            tokens, logprobs = samples.tokens_of(bad), rollouts.logprobs[bad]
            against = example(bad, rejection(tokens, logprobs, contrast_weight, repeat_weight))
        pairs.append((example(good, 1.0), against))
    return pairs


def beside_rejected(pairs: Sequence[tuple[Example, Example | None]]) -> Reweigh:
    """A hook of the training loop: a rejected text follows its chosen one, to share its prompt."""
    rejected_of = {id(chosen): rejected for chosen, rejected in pairs if rejected is not None}

    def reweigh(batch: list[Example]) -> list[Example]:
        texts = []
        for example in batch:
            texts.append(example)
            if id(example) in rejected_of:
                texts.append(rejected_of[id(example)])
        return texts

    return reweigh


def choose(
    context: PhaseContext,
    settings: PhaseSettings,
    candidates: Samples,
    prompt: Sequence[int],
    finished: Sequence[bool],
    phase: int,
    weights: dict[str, float] | None = None,
) -> list[Choice]:
    """Choose the candidates to learn and, where the settings ask for contrast, those to reject.

    The chosen are out of the `finished`; the rejected are out of those that did not finish where a
    prompt has one.

    Args:
        prompt: the prompt of each candidate.
        finished: whether each candidate ended by itself.
        weights: by which each term enters the choice; None scales them anew.

    Returns:
        What `select_population` returns for the chosen, and for the rejected where there are some.
    """
    vocab = context.policy.decoder.config.vocab_size
    terms = make_terms(candidates, context.human, vocab, settings.weights.model_dump())
    seed, overshoot = context.seed + phase, settings.overshoot
    choosable = np.flatnonzero(finished)
    choices = [select_population(prompt, terms, seed, overshoot, weights, among=choosable)]
    if settings.contrast:
        weights = weights_of(choices[0][1])
        prompts, cut = np.asarray(prompt), ~np.asarray(finished)
        rejectable = np.flatnonzero(cut | ~np.isin(prompts, prompts[cut]))
        choices.append(
            select_population(prompt, terms, seed, -2 - overshoot, weights, among=rejectable)
        )
    return choices


def rejection(
    tokens: Sequence[int], logprobs: Sequence[float], weight: float, repeat_weight: float
) -> list[float]:
    """The weights of a rejected text's tokens for `contrast`.

    They are minus `weight` over the probability that each token was drawn with, `1 + repeat_weight`
    times that where the token repeats one of its text.
    """
    return (-weight * (1 + repeat_weight * repeated(tokens)) / np.exp(logprobs)).tolist()


def excess_repetition(context: PhaseContext, rollouts: Rollouts, phase: int) -> float:
    """The share of the policy's repeats, within a text, that are more than in human texts.

    It is 0 where the policy repeats no more than people do.
    """
    people = repetition([context.human.tokens_of(i) for i in range(len(context.human))])
    policy = rollouts.collapse["repetition"]
    log.info(
        "dft phase %d: %.2f%% of the 4-grams repeat one of their text, %.2f%% in human texts",
        phase,
        100 * policy,
        100 * people,
    )
    return max(0.0, 1 - people / policy) if policy else 0.0


def first_weights(context: PhaseContext) -> dict[str, float] | None:
    """The weights of the first phase, so that all phases descend on one functional.

    In the first phase there are none yet: None.
    """
    file = context.folder / "phases.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for record in records:
        if "selection" in record:
            return weights_of(record["selection"])
    return None


def weights_of(history: list[dict[str, float]]) -> dict[str, float]:
    """By which each term entered a choice, of which `history` is the record."""
    return {
        name.removeprefix("weight_"): weight
        for name, weight in history[0].items()
        if name.startswith("weight_")
    }


def contrast(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """`scale · Σ (−w log p` where w > 0, `−w p` where w < 0) over the batch's completion tokens.

    With w = −1/p₀, p₀ the probability that the token was drawn with, `−w p` is the importance ratio
    p/p₀: the gradient over the rejected is that of the policy as it is now, and fades as a token
    becomes unlikely, where that of a negative likelihood would grow without bound.
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
            log.debug(
                "dft phase %d: %s of the population %s (weight %.4g)", phase, name, values, weight
            )
