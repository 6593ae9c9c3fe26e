"""Log-probability and entropy of a language-model head without the tokens × vocabulary matrix of logits."""

from __future__ import annotations

import torch
from torch import Tensor

from .reference import linear_logprob as reference


def linear_logprob(h: Tensor, weight: Tensor, target: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability of a target token, and entropy, under softmax(h weightᵀ / temperature), in nats.

    h: [T, d] float32, bfloat16 or float16; weight: [V, d], same dtype; target: [T] int64 in [0, V).
    Returns (logprob float32 [T], entropy float32 [T]), both differentiable in h, and in weight where it requires a
    gradient; a frozen weight costs nothing. The backward recomputes the logits a block of tokens at a time; h, weight,
    target, the log-sum-exp and the entropy are all that is saved. A head with an adapter is used by passing its
    effective weight, W + s B A, through which autograd reaches A and B.

    Raises ValueError for shapes that do not fit, a target outside the vocabulary or temperature <= 0; TypeError for
    other dtypes.
    """
    _check(h, weight, target, temperature)
    logprob, entropy, _ = torch.ops.dftfast.linear_logprob(h, weight, target, temperature)
    return logprob, entropy


def linear_cross_entropy(
    h: Tensor, weight: Tensor, target: Tensor, token_weight: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Weighted negative log-likelihood of a language-model head, with the gradient computed in the forward pass.

        loss = -Σ_t token_weight_t · log softmax(h_t weightᵀ / temperature)[target_t]

    token_weight: [T] float32, known before the forward: 1 / N for cross-entropy over N tokens, advantage / N for
    REINFORCE, 0 for a token without loss. Other arguments and errors as in `linear_logprob`. Because the loss is
    linear in the log-probabilities, the gradients of h and weight are known up to one scalar while the block of logits
    is at hand, so the logits are computed once (Liger Kernel's fused linear cross-entropy, Hsu et al. 2024).
    Returns (loss float32 scalar, logprob float32 [T], detached).
    """
    _check(h, weight, target, temperature)
    if token_weight.shape != target.shape or token_weight.dtype != torch.float32:
        raise ValueError(
            f"token_weight must be float32 of shape {tuple(target.shape)}, "
            f"got {token_weight.dtype} of shape {tuple(token_weight.shape)}"
        )
    if token_weight.requires_grad:
        raise ValueError("linear_cross_entropy is not differentiable in token_weight; detach it or use linear_logprob")
    if not torch.is_grad_enabled() or not (h.requires_grad or weight.requires_grad):
        logprob, _ = linear_logprob(h, weight, target, temperature)
        return -(token_weight * logprob).sum(), logprob
    loss, logprob, _, _ = torch.ops.dftfast.linear_cross_entropy(
        h, weight, target, token_weight, temperature, weight.requires_grad
    )
    return loss, logprob


def _check(h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> None:
    if h.dim() != 2 or weight.dim() != 2 or h.shape[1] != weight.shape[1]:
        raise ValueError(f"h [T, d] and weight [V, d] expected, got {tuple(h.shape)} and {tuple(weight.shape)}")
    if target.shape != h.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"target must be int64 of shape {tuple(h.shape[:1])}, got {target.dtype} of shape {tuple(target.shape)}"
        )
    if h.dtype not in (torch.float32, torch.bfloat16, torch.float16) or weight.dtype != h.dtype:
        raise TypeError(
            f"h and weight must both be float32, bfloat16 or float16, got {h.dtype} and {weight.dtype}; convert one"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


@torch.library.custom_op("dftfast::linear_logprob", mutates_args=(), device_types="cpu")
def _logprob(h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """logprob, entropy and log-sum-exp, float32 [T] each."""
    logits = (h @ weight.t()).float() / temperature
    return *reference.linear_logprob(h, weight, target, temperature), logits.logsumexp(-1)


@_logprob.register_kernel("cuda")
def _(h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    from .triton.linear_logprob import linear_logprob_forward

    return linear_logprob_forward(h, weight, target, temperature)


@_logprob.register_fake
def _(h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(h.new_empty(h.shape[0], dtype=torch.float32) for _ in range(3))


@torch.library.custom_op("dftfast::linear_logprob_backward", mutates_args=(), device_types="cpu")
def _logprob_backward(
    grad_logprob: Tensor,
    grad_entropy: Tensor | None,
    h: Tensor,
    weight: Tensor,
    target: Tensor,
    lse: Tensor,
    entropy: Tensor,
    temperature: float,
    weight_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of h and of weight; an empty tensor in place of the latter without weight_grad."""
    logp = (h @ weight.t()).float() / temperature - lse[:, None]
    pull = grad_logprob[:, None]
    if grad_entropy is not None:
        pull = pull + grad_entropy[:, None] * (logp + entropy[:, None])
    g = -logp.exp() * pull
    g.scatter_add_(1, target[:, None], grad_logprob[:, None])
    g = (g / temperature).to(h.dtype)
    return g @ weight, g.t() @ h if weight_grad else h.new_empty(0)


@_logprob_backward.register_kernel("cuda")
def _(grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad):
    from .triton.linear_logprob import linear_logprob_backward

    grad_h, grad_weight = linear_logprob_backward(
        grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad
    )
    return grad_h, grad_weight if weight_grad else h.new_empty(0)


@_logprob_backward.register_fake
def _(grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad):
    return h.new_empty(h.shape), h.new_empty(weight.shape if weight_grad else 0)


def _setup_logprob(ctx, inputs, output) -> None:
    h, weight, target, ctx.temperature = inputs
    _, entropy, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(h, weight, target, lse, entropy)


def _autograd_logprob(ctx, grad_logprob: Tensor | None, grad_entropy: Tensor | None, _):
    saved = ctx.saved_tensors
    if grad_logprob is None:
        grad_logprob = torch.zeros_like(saved[-1])
    grad_h, grad_weight = torch.ops.dftfast.linear_logprob_backward(
        grad_logprob, grad_entropy, *saved, ctx.temperature, ctx.needs_input_grad[1]
    )
    return grad_h, grad_weight if ctx.needs_input_grad[1] else None, None, None


_logprob.register_autograd(_autograd_logprob, setup_context=_setup_logprob)


@torch.library.custom_op("dftfast::linear_cross_entropy", mutates_args=(), device_types="cpu")
def _cross_entropy(
    h: Tensor, weight: Tensor, target: Tensor, token_weight: Tensor, temperature: float, weight_grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """loss, logprob, gradient of h, gradient of weight (an empty tensor without weight_grad)."""
    logprob, entropy, lse = _logprob(h, weight, target, temperature)
    grads = _logprob_backward(-token_weight, None, h, weight, target, lse, entropy, temperature, weight_grad)
    return -(token_weight * logprob).sum(), logprob, *grads


@_cross_entropy.register_kernel("cuda")
def _(h, weight, target, token_weight, temperature, weight_grad):
    from .triton.linear_logprob import linear_cross_entropy_forward

    loss, logprob, grad_h, grad_weight = linear_cross_entropy_forward(
        h, weight, target, token_weight, temperature, weight_grad
    )
    return loss, logprob, grad_h, grad_weight if weight_grad else h.new_empty(0)


@_cross_entropy.register_fake
def _(h, weight, target, token_weight, temperature, weight_grad):
    loss, logprob = h.new_empty((), dtype=torch.float32), h.new_empty(h.shape[0], dtype=torch.float32)
    return loss, logprob, h.new_empty(h.shape), h.new_empty(weight.shape if weight_grad else 0)


def _setup_cross_entropy(ctx, inputs, output) -> None:
    _, logprob, grad_h, grad_weight = output
    ctx.mark_non_differentiable(logprob, grad_h, grad_weight)
    ctx.save_for_backward(grad_h, grad_weight)


def _autograd_cross_entropy(ctx, grad_loss: Tensor, *_):
    grads = (
        (grad * grad_loss).to(grad.dtype) if need else None
        for grad, need in zip(ctx.saved_tensors, ctx.needs_input_grad[:2])
    )
    return *grads, None, None, None, None


_cross_entropy.register_autograd(_autograd_cross_entropy, setup_context=_setup_cross_entropy)
