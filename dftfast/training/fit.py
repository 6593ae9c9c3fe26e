"""Maximum likelihood on (prompt, completion) pairs: the one training loop of SFT and of DFT's selected texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..kernels import linear_cross_entropy
from ..model.attention import packed_causal
from ..model.decoder import Decoder
from .optimiser import Optimiser
from .packing import Example, PackedBatch, batches, by_budget, pack


@dataclass(frozen=True)
class FitSettings:
    """How to train: ``batch_tokens`` a step, ``micro_tokens`` at most in one forward (both count prompts)."""

    learning_rate: float
    epochs: int = 1
    batch_tokens: int = 8192
    micro_tokens: int = 4096
    warmup: float = 0.05
    weight_decay: float = 0.0
    grad_clip: float = 1.0


def fit(
    decoder: Decoder,
    parameters: Sequence[nn.Parameter],
    examples: Sequence[Example],
    settings: FitSettings,
    seed: int,
    log: Callable[[dict], None],
) -> None:
    """Train ``parameters`` on the completions of ``examples``.

    The loss of a step is the mean over its completion tokens, weighted by ``Example.weight``, exactly: however
    the step is cut into micro-batches, the gradient is that of the whole. ``log`` gets one dict a step: step,
    steps, loss (nats per token), grad_norm, learning_rate, tokens, tokens_per_second, skipped.
    """
    plan = list(batches(examples, settings.batch_tokens, settings.epochs, seed))
    optimiser = Optimiser(
        parameters, settings.learning_rate, len(plan), settings.warmup, settings.weight_decay, settings.grad_clip
    )
    for step, batch in enumerate(plan, 1):
        start, rate = time.perf_counter(), optimiser.rate()
        total = sum(abs(example.weight) * len(example.completion) for example in batch)
        loss = 0.0
        for group in by_budget(batch, settings.micro_tokens):
            loss += backward(decoder, pack(group).to(decoder.embed.device), 1 / total)
        norm, taken = optimiser.step()
        decoder.version += 1
        tokens = sum(map(len, batch))
        log(
            {
                "step": step,
                "steps": len(plan),
                "loss": loss,
                "grad_norm": norm,
                "learning_rate": rate,
                "tokens": tokens,
                "tokens_per_second": tokens / (time.perf_counter() - start),
                "skipped": not taken,
            }
        )


def backward(decoder: Decoder, batch: PackedBatch, scale: float) -> float:
    """Add the gradient of ``scale · Σ weight · −logprob`` over the batch's completion tokens; returns that sum."""
    hidden = decoder(batch.tokens, batch.positions, packed_causal(batch.offsets))
    loss, _ = linear_cross_entropy(hidden[batch.rows], decoder.head_weight, batch.targets, batch.weights * scale)
    loss.backward()
    return float(loss.detach())


@torch.no_grad()
def nats_per_token(decoder: Decoder, examples: Sequence[Example], micro_tokens: int = 4096) -> float:
    """Mean negative log-likelihood of the completions, nats per token, under the decoder as it stands."""
    total = count = 0.0
    for group in by_budget(examples, micro_tokens):
        batch = pack(group).to(decoder.embed.device)
        hidden = decoder(batch.tokens, batch.positions, packed_causal(batch.offsets))
        loss, _ = linear_cross_entropy(
            hidden[batch.rows], decoder.head_weight, batch.targets, torch.ones_like(batch.weights)
        )
        total, count = total + float(loss), count + len(batch.targets)
    return total / count
