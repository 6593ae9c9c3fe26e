"""One draw for every sequence of a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dftfast.kernels import sample_tokens
from dftfast.rollout.request import Sequence
from dftfast.rollout.sampler import bend_logits


def draw(logits: Tensor, sequences: list[Sequence], end_tokens: set[int]) -> list[list[float]]:
    """Sample each sequence's next token from its row of logits [S, V], which may be overwritten.

    The random number is a function of the request's seed and id, the sample's number and the
    position alone.

    Returns:
        tokens; logprobs under the model's own distribution; logprobs under the sampler's; entropies
        of the model's distribution: one list each, read from the device at once.

    Raises:
        FloatingPointError: the logits of some row are not finite.
    """
    samplers = [s.request.sampler for s in sequences]
    held_back = {
        i: [*end_tokens, *sampler.stop_token_ids]
        for i, sampler in enumerate(samplers)
        if sampler.min_tokens and sequences[i].num_generated < sampler.min_tokens
    }
    bent = [i for i, sampler in enumerate(samplers) if sampler.bends or i in held_back]
    raw = logits[bent]
    for i in bent:
        bend_logits(logits[i], samplers[i], sequences[i].tokens, held_back.get(i, []))

    kinds = {id(sampler): sampler for sampler in samplers}  # few: most requests share theirs
    place = {key: i for i, key in enumerate(kinds)}
    settings = torch.tensor([[s.temperature, s.top_k, s.top_p, s.min_p] for s in kinds.values()])
    of_rows = settings.T[:, [place[id(sampler)] for sampler in samplers]]
    temperature, top_k, top_p, min_p = of_rows.to(logits.device, non_blocking=True)
    requests = [s.request for s in sequences]
    positions = [s.sample << 32 | s.num_generated for s in sequences]
    counters = torch.tensor([[r.seed for r in requests], [r.id for r in requests], positions])
    seed, request, position = counters.to(logits.device, non_blocking=True)
    token, logprob, sampler_logprob, entropy = sample_tokens(
        logits, temperature, top_k.int(), top_p, min_p, seed, request, position
    )
    if bent:  # the model's own distribution is that of the logits before they were bent
        logprob[bent], entropy[bent] = _of_model(raw, token[bent])
    drawn = torch.stack([x.double() for x in (token, logprob, sampler_logprob, entropy)]).tolist()
    if not all(map(math.isfinite, drawn[1])):
        raise FloatingPointError("the policy's logits are not finite")
    return drawn


def _of_model(logits: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's log-probability of `token` [R] and entropy, under softmax(logits).

    The sampler's pass over a row takes a fifth of the time of torch's formula, whose tables are
    as large as the logits: greedy, it gives the likeliest token's log-probability.
    """
    off, integers = torch.zeros(len(token), device=logits.device), torch.zeros_like(token)
    top, top_logprob, _, entropy = sample_tokens(
        logits, off, off.int(), off + 1, off, integers, integers, integers
    )
    likeliest, drawn = logits.gather(1, torch.stack([top, token], 1)).float().unbind(1)
    return top_logprob + (drawn - likeliest), entropy
