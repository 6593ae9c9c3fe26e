"""What a rollout returns: ragged tensors, ready for the trainer."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from dftfast.rollout.request import Sequence


@dataclass
class RolloutBatch:
    """N samples, by request and then by sample; i owns `tokens[offsets[i]:offsets[i + 1]]`.

    Attributes:
        request: int64[N], id of the sample's request.
        sample: int64[N], number of the sample within its request.
        prompt_tokens, prompt_offsets: int64[sum of prompt lengths], int64[N + 1].
        tokens, offsets: int64[T], int64[N + 1]: generated tokens, with the end token where one was
            sampled.
        logprobs: f32[T] under the model's own, untempered distribution.
        sampler_logprobs: f32[T] under the distribution that was drawn from (tempered, cut, bent).
        entropies: f32[T] of the model's distribution at each token, in nats.
        finish_reason: "stop" (end token or stop string), "length" or "cancelled", for each sample.
        agreement: sampler against training forward on a few of the samples, where the engine was
            asked for it.
    """

    request: Tensor
    sample: Tensor
    prompt_tokens: Tensor
    prompt_offsets: Tensor
    tokens: Tensor
    offsets: Tensor
    logprobs: Tensor
    sampler_logprobs: Tensor
    entropies: Tensor
    finish_reason: list[str]
    agreement: Agreement | None = None

    def __len__(self) -> int:
        return len(self.finish_reason)

    @property
    def cut_share(self) -> float:
        """Share of the samples that the length limit cut."""
        return self.finish_reason.count("length") / max(len(self), 1)

    def output(self, i: int) -> list[int]:
        """Generated tokens of sample i."""
        return self.tokens[self.offsets[i] : self.offsets[i + 1]].tolist()

    @classmethod
    def from_sequences(cls, sequences: SequenceOf[Sequence], device: torch.device) -> RolloutBatch:
        prompts = [sequence.request.prompt for sequence in sequences]
        outputs = [sequence.tokens[len(sequence.request.prompt) :] for sequence in sequences]

        def integers(values) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        def joined(lists, dtype) -> Tensor:
            return torch.tensor(
                [value for part in lists for value in part], dtype=dtype, device=device
            )

        def offsets(lists) -> Tensor:
            return integers([0, *(len(part) for part in lists)]).cumsum(0)

        return cls(
            request=integers([sequence.request.id for sequence in sequences]),
            sample=integers([sequence.sample for sequence in sequences]),
            prompt_tokens=joined(prompts, torch.int64),
            prompt_offsets=offsets(prompts),
            tokens=joined(outputs, torch.int64),
            offsets=offsets(outputs),
            logprobs=joined([sequence.logprobs for sequence in sequences], torch.float32),
            sampler_logprobs=joined(
                [sequence.sampler_logprobs for sequence in sequences], torch.float32
            ),
            entropies=joined([sequence.entropies for sequence in sequences], torch.float32),
            finish_reason=[cast(str, sequence.finish_reason) for sequence in sequences],
        )


@dataclass(frozen=True)
class Agreement:
    """How far the sampler is from the training forward, in nats.

    Attributes:
        max, mean: of the absolute differences of the two logprobs of a sampled token.
        tokens: how many were compared.
        kl: estimate of the divergence of the training forward's distribution from the sampler's,
            a token: the mean of r - 1 - log r, r = p / q, over what the sampler q drew (Schulman
            2020, http://joschu.net/blog/kl-approx.html). Of untempered samples alone.
    """

    max: float
    mean: float
    tokens: int
    kl: float = 0.0


@torch.no_grad()
def agreement(decoder, batch: RolloutBatch, samples: int | None = None) -> Agreement:
    """Score a rollout again with the training forward: packed documents, no cache, fused logprobs.

    Both are logprobs of the untempered model, so the figures hold only while the weights are those
    that sampled.

    Args:
        samples: how many, from the front and evenly spread; all by default.
    """
    from dftfast.kernels import linear_logprob
    from dftfast.model.attention import packed_causal

    chosen = range(0, len(batch), max(len(batch) // samples, 1) if samples else 1)[:samples]
    documents, scored, targets, sampled = [], [], [], []
    for i in chosen:
        prompt = batch.prompt_tokens[batch.prompt_offsets[i] : batch.prompt_offsets[i + 1]]
        start, end = batch.offsets[i].item(), batch.offsets[i + 1].item()
        document = torch.cat([prompt, batch.tokens[start:end]])[
            :-1
        ]  # the last token is scored, never read
        documents.append(document)
        scored.append(torch.arange(len(document), device=document.device) >= len(prompt) - 1)
        targets.append(batch.tokens[start:end])
        sampled.append(batch.logprobs[start:end])
    if not documents or not sum(map(len, targets)):
        return Agreement(0.0, 0.0, 0)
    lengths = torch.tensor([0, *map(len, documents)], device=batch.tokens.device)
    positions = torch.cat(
        [torch.arange(len(document), device=document.device) for document in documents]
    )
    hidden = decoder(torch.cat(documents), positions, packed_causal(lengths.cumsum(0)))[
        torch.cat(scored)
    ]
    logprob, _ = linear_logprob(hidden, decoder.head_weight, torch.cat(targets))
    ratio = logprob - torch.cat(sampled)
    difference, kl = ratio.abs(), (ratio.expm1() - ratio).mean()
    return Agreement(difference.max().item(), difference.mean().item(), len(difference), kl.item())
