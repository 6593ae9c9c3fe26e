"""Plain PyTorch twins of `linear_logprob` and its loss: the truth of their tests."""

from __future__ import annotations

import torch
from torch import Tensor


def _log_softmax(h: Tensor, weight: Tensor, temperature: float) -> Tensor:
    logits = h @ weight.t()
    return torch.log_softmax(
        logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, dim=-1
    )


def linear_logprob(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    logprobs = _log_softmax(h, weight, temperature)
    entropy = -torch.where(logprobs == -torch.inf, 0.0, logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(1, target[:, None])[:, 0], entropy


def linear_cross_entropy(
    h: Tensor, weight: Tensor, target: Tensor, token_weight: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    logprob = _log_softmax(h, weight, temperature).gather(1, target[:, None])[:, 0]
    return -(token_weight * logprob).sum(), logprob.detach()
