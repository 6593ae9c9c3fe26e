"""One draw for every sequence of a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..kernels import sample_tokens
from .request import Sequence
from .sampler import bend_logits


def draw(logits: Tensor, sequences: list[Sequence], end_tokens: set[int]) -> list[list[float]]:
    """Sample the next token of each sequence from its row of logits [S, V], which may be overwritten.

    The random number is a function of the request's seed and id, the sample's number and the position alone.

    Returns:
        tokens; logprobs under the model's own distribution; logprobs under the sampler's; entropies of the
        model's distribution: one list each, read from the device at once.

    Raises:
        FloatingPointError: the logits of some row are not finite.
    """
    held_back = [
        [*end_tokens, *s.request.sampler.stop_token_ids] if s.num_generated < s.request.sampler.min_tokens else []
        for s in sequences
    ]
    bent = [i for i, s in enumerate(sequences) if held_back[i] or s.request.sampler.bends]
    raw = logits[bent] if bent else None
    for i in bent:
        bend_logits(logits[i], sequences[i].request.sampler, sequences[i].tokens, held_back[i])

    def column(values: list, dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype).to(logits.device, non_blocking=True)

    samplers = [s.request.sampler for s in sequences]
    token, logprob, sampler_logprob, entropy = sample_tokens(
        logits,
        column([s.temperature for s in samplers], torch.float32),
        column([s.top_k for s in samplers], torch.int32),
        column([s.top_p for s in samplers], torch.float32),
        column([s.min_p for s in samplers], torch.float32),
        column([s.request.seed for s in sequences], torch.int64),
        column([s.request.id for s in sequences], torch.int64),
        column([s.sample << 32 | s.num_generated for s in sequences], torch.int64),
    )
    if bent:  # the model's own distribution is that of the logits before they were bent
        model = raw.float().log_softmax(-1)
        logprob[bent] = model.gather(1, token[bent][:, None])[:, 0]
        entropy[bent] = -(model.exp() * model).sum(-1)
    drawn = torch.stack([x.double() for x in (token, logprob, sampler_logprob, entropy)]).tolist()
    if not all(map(math.isfinite, drawn[1])):
        raise FloatingPointError("the policy's logits are not finite")
    return drawn
