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
    found = dict(_read(decoder, examples, micro_tokens))
    return [found[i] for i in range(len(examples))]


@torch.no_grad()
def _read(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int
) -> Iterator[tuple[int, list[float]]]:
    """Each example's index, and the log-probabilities of its completion."""
    # neighbours share more of their beginning
    order = sorted(range(len(examples)), key=lambda i: examples[i].prompt)
    places = iter(order)
    with sharded_join(decoder):
        for group in by_budget([examples[i] for i in order], micro_tokens):
            with stage("forward"):
                batch = pack(group).to(decoder.embed.device)
                states = completion_states(decoder, batch)
                logprobs, _ = linear_logprob(states, decoder.head_weight, batch.targets)
                parts = logprobs.cpu().split([len(example.completion) for example in group])
            for of_text in parts:
                yield next(places), of_text.tolist()


def nats_per_token(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int = 4096
) -> float:
    """Mean negative log-likelihood of the completions under the decoder, in nats per token."""
    return nats(token_logprobs(decoder, examples, micro_tokens))


def nats(logprobs: Sequence[Sequence[float]]) -> float:
    """Mean negative log-likelihood per token, in nats, of texts with these log-probabilities."""
    return -sum(map(sum, logprobs)) / sum(map(len, logprobs))
