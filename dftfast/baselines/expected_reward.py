"""Expected reward of the next token under the policy, with its exact gradient, not a sampled one.

For the softmax p over the vocabulary and a reward r of every possible next token, `∂/∂logit_v Σ_u
p_u r_u = p_v (r_v − Σ_u p_u r_u)`. No sampling noise enters beyond that of the context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TOKENS = 256  # rows of logits that exist at a time

# (rows, their log-probabilities fp32 [r, V]) -> reward fp32 [r, V] or [V]
Reward = Callable[[slice, Tensor], Tensor]


def expected_reward(h: Tensor, weight: Tensor, reward: Reward) -> Tensor:
    """`Σ_t Σ_v p_t(v) r_t(v)`, fp32 scalar, differentiable in h.

    Args:
        h: hidden states [T, d].
        weight: of the head, [V, d].
        reward: of every possible next token, a few rows at a time.

    The gradient is computed in the forward pass, a few rows of logits at a time. It is also exact
    for a reward of the form `a_v − log p_v`, because the derivative of that log-probability has
    mean zero under p.
    """
    return _ExpectedReward.apply(h, weight, reward)


class _ExpectedReward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor, weight: Tensor, reward: Reward) -> Tensor:
        gradient = torch.empty_like(h)
        total = torch.zeros((), device=h.device)
        for start in range(0, len(h), TOKENS):
            rows = slice(start, min(start + TOKENS, len(h)))
            logprobs = (h[rows] @ weight.T).float().log_softmax(1)
            probabilities = logprobs.exp()
            rewards = reward(rows, logprobs)
            mean = (probabilities * rewards).sum(1, keepdim=True)
            total += mean.sum()
            gradient[rows] = (probabilities * (rewards - mean)).to(h.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None
