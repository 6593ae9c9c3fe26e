"""Likelihood of completions: the loss of packed batches, and token by token without gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dftfast.kernels import linear_cross_entropy, linear_logprob
from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.optimise import distributed
from dftfast.optimise.packing import Example, PackedBatch, by_budget, pack
from dftfast.optimise.sharded_join import sharded_join
from dftfast.runtime.profile import stage


def likelihood(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """`scale · Σ weight · −logprob` over the batch's completion tokens."""
    hidden = completion_states(decoder, batch)
    weights = batch.weights * scale
    loss, _ = linear_cross_entropy(hidden, decoder.head_weight, batch.targets, weights)
    return loss


def completion_states(decoder: Decoder, batch: PackedBatch) -> Tensor:
    """Final hidden states [M, d] that predict the completion tokens."""
    rows, attend = batch.distinct, packed_causal(batch.offsets, batch.distinct, batch.place)
    return decoder(batch.tokens[rows], batch.positions[rows], attend)[batch.place[batch.rows]]


def token_logprobs(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int = 4096
) -> list[list[float]]:
    """Log-probability of every completion token, in nats, under the decoder as it stands.

    Processes share the work.
    """
    sizes = [len(example) for example in examples]
    return distributed.map_over_ranks(
        lambda part: own_token_logprobs(decoder, part, micro_tokens), examples, sizes
    )


def own_token_logprobs(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int = 4096
) -> list[list[float]]:
    """`token_logprobs` of this process's own examples."""
    found = {i: logprobs.tolist() for i, _, logprobs in _read(decoder, examples, micro_tokens)}
    return [found[i] for i in range(len(examples))]


def logprobs_and_states(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int, width: int
) -> list[tuple[list[float], Tensor]]:
    """Of every completion what `token_logprobs` has, and what the decoder saw before each token.

    Processes share the work.

    Args:
        width: coordinates of a state at most; of a larger one as many random projections.

    Returns:
        The log-probabilities, in nats, and fp16 [tokens, width or less] on the CPU, one row the
        final hidden state that predicts the token.
    """
    basis = _basis(decoder.embed.shape[1], width)

    def own(part: Sequence[Example]) -> list[tuple[list[float], Tensor]]:
        found = {
            i: (logprobs.tolist(), (states.cpu().float() @ basis).half())
            for i, states, logprobs in _read(decoder, part, micro_tokens)
        }
        return [found[i] for i in range(len(part))]

    return distributed.map_over_ranks(own, examples, list(map(len, examples)))


def _basis(size: int, width: int) -> Tensor:
    """fp32 [size, at most width], columns orthonormal; all of the space where it is small."""
    if size <= width:
        return torch.eye(size)
    noise = torch.randn(size, width, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(noise).Q


@torch.no_grad()
def _read(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each example's index, and of its completion the final states [n, d] and log-probabilities."""
    # neighbours share more of their beginning
    order = sorted(range(len(examples)), key=lambda i: examples[i].prompt)
    places = iter(order)
    with sharded_join(decoder):
        for group in by_budget([examples[i] for i in order], micro_tokens):
            with stage("forward"):
                batch = pack(group).to(decoder.embed.device)
                states = completion_states(decoder, batch)
                logprobs, _ = linear_logprob(states, decoder.head_weight, batch.targets)
                sizes = [len(example.completion) for example in group]
                parts = list(zip(states.split(sizes), logprobs.cpu().split(sizes)))
            for of_states, of_logprobs in parts:
                yield next(places), of_states, of_logprobs


def nats_per_token(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int = 4096
) -> float:
    """Mean negative log-likelihood of the completions under the decoder, in nats per token."""
    return nats(token_logprobs(decoder, examples, micro_tokens))


def nats(logprobs: Sequence[Sequence[float]]) -> float:
    """Mean negative log-likelihood per token, in nats, of texts with these log-probabilities."""
    return -sum(map(sum, logprobs)) / sum(map(len, logprobs))
