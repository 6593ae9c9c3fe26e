"""Log-probability and entropy of a language-model head, without the matrix of all logits."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import (
    check_dtype,
    check_vector,
    in_autocast_dtype,
)
from dftfast.kernels.cpu_head import HeadGradients, logits_blocks
from dftfast.kernels.operator import Operator, has_data


def linear_logprob(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probability of a token, and entropy, under softmax(h weightᵀ / temperature), in nats.

    h: [T, d] float32, bfloat16 or float16; weight: [V, d], same dtype; target: [T] int64 in [0, V).
    Returns (logprob float32 [T], entropy float32 [T]), both differentiable in h, and in weight
    where it requires a gradient; a frozen weight costs nothing. The backward recomputes the logits
    a block of tokens at a time; h, weight, target, the log-sum-exp and the entropy are all that is
    saved. A head with an adapter is used by passing its effective weight, W + s B A, through which
    autograd reaches A and B.

    Under autocast, h and weight are cast as for a matrix product. Raises ValueError for shapes that
    do not fit, a target outside the vocabulary or temperature <= 0; TypeError for other dtypes.
    """
    h, weight = in_autocast_dtype(h, weight)
    logprob, entropy, _ = _linear_logprob(h, weight, target, temperature)
    return logprob, entropy


def linear_cross_entropy(
    h: Tensor, weight: Tensor, target: Tensor, token_weight: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Weighted negative log-likelihood of a head, with its gradient from the forward pass.

        loss = -Σ_t token_weight_t · log softmax(h_t weightᵀ / temperature)[target_t]

    token_weight: [T] float32, known before the forward: 1 / N for cross-entropy over N tokens,
    advantage / N for REINFORCE, 0 for a token without loss. Other arguments and errors as in
    `linear_logprob`. Because the loss is linear in the log-probabilities, the gradients of h and
    weight are known up to one scalar while the block of logits is at hand, so the logits are
    computed once (Liger Kernel's fused linear cross-entropy, Hsu et al. 2024).
    Returns (loss float32 scalar, logprob float32 [T], detached).
    """
    if token_weight.requires_grad:
        raise ValueError(
            "linear_cross_entropy is not differentiable in token_weight; "
            "detach it or use linear_logprob"
        )
    h, weight = in_autocast_dtype(h, weight)
    if not torch.is_grad_enabled() or not (h.requires_grad or weight.requires_grad):
        check_vector("linear_cross_entropy", "token_weight", token_weight, len(h), torch.float32)
        logprob, _ = linear_logprob(h, weight, target, temperature)
        return -(token_weight * logprob).sum(), logprob
    loss, logprob, _, _ = _linear_cross_entropy(
        h, weight, target, token_weight, temperature, weight.requires_grad
    )
    return loss, logprob


def _check(op: str, h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> None:
    check_dtype(op, h, weight)
    if h.dim() != 2 or weight.dim() != 2 or h.shape[1] != weight.shape[1] or not len(weight):
        raise ValueError(
            f"{op}: h [T, d] and weight [V, d] with V > 0 expected, "
            f"got {tuple(h.shape)} and {tuple(weight.shape)}"
        )
    check_vector(op, "target", target, h.shape[0], torch.int64)
    if not temperature > 0:
        raise ValueError(f"{op}: temperature must be above 0, got {temperature}")


def _check_logprob(h, weight, target, temperature) -> None:
    _check("linear_logprob", h, weight, target, temperature)


def _check_backward(
    grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad
) -> None:
    op = "linear_logprob_backward"
    _check(op, h, weight, target, temperature)
    vectors = {"grad_logprob": grad_logprob, "lse": lse, "entropy": entropy}
    if grad_entropy is not None:
        vectors["grad_entropy"] = grad_entropy
    for name, vector in vectors.items():
        check_vector(op, name, vector, h.shape[0], torch.float32)


def _check_cross_entropy(h, weight, target, token_weight, temperature, weight_grad) -> None:
    op = "linear_cross_entropy"
    _check(op, h, weight, target, temperature)
    check_vector(op, "token_weight", token_weight, h.shape[0], torch.float32)


def _cpu(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """logprob, entropy and log-sum-exp, float32 [T] each."""
    outputs = h.new_empty(3, h.shape[0], dtype=torch.float32)
    for block in logits_blocks(h, weight, target, temperature):
        block.forward(outputs)
    logprob, entropy, lse = (row.clone() for row in outputs)
    return logprob, entropy, lse


def _backward_cpu(
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
    lse, entropy, grad_logprob = lse.contiguous(), entropy.contiguous(), grad_logprob.contiguous()
    grad_entropy = None if grad_entropy is None else grad_entropy.contiguous()
    gradients = HeadGradients(h, weight, weight_grad)
    for block in logits_blocks(h, weight, target, temperature, weight_grad):
        block.backward(lse, entropy, grad_logprob, grad_entropy)
        gradients.add(block)
    return gradients.result()


def _cross_entropy_cpu(
    h: Tensor,
    weight: Tensor,
    target: Tensor,
    token_weight: Tensor,
    temperature: float,
    weight_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """loss, logprob, gradient of h, gradient of weight (an empty tensor without weight_grad)."""
    outputs = h.new_empty(3, h.shape[0], dtype=torch.float32)
    grad_logprob = -token_weight.contiguous()
    gradients = HeadGradients(h, weight, weight_grad)
    for block in logits_blocks(h, weight, target, temperature, weight_grad):
        block.forward_backward(outputs, grad_logprob)
        gradients.add(block)
    return -(token_weight * outputs[0]).sum(), outputs[0].clone(), *gradients.result()


def _cuda(h, weight, target, temperature):
    from dftfast.kernels.triton.linear_logprob import linear_logprob_forward

    return linear_logprob_forward(h, weight, target, temperature)


def _backward_cuda(
    grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad
):
    from dftfast.kernels.triton.linear_logprob import linear_logprob_backward

    grad_h, grad_weight = linear_logprob_backward(
        grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad
    )
    return grad_h, grad_weight if weight_grad else h.new_empty(0)


def _cross_entropy_cuda(h, weight, target, token_weight, temperature, weight_grad):
    from dftfast.kernels.triton.linear_logprob import linear_cross_entropy_forward

    loss, logprob, grad_h, grad_weight = linear_cross_entropy_forward(
        h, weight, target, token_weight, temperature, weight_grad
    )
    return loss, logprob, grad_h, grad_weight if weight_grad else h.new_empty(0)


def _fake(h, weight, target, temperature):
    return tuple(h.new_empty(h.shape[0], dtype=torch.float32) for _ in range(3))


def _fake_gradients(h: Tensor, weight: Tensor, weight_grad: bool) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), h.new_empty(weight.shape if weight_grad else 0)


def _backward_fake(
    grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad
):
    return _fake_gradients(h, weight, weight_grad)


def _cross_entropy_fake(h, weight, target, token_weight, temperature, weight_grad):
    loss = h.new_empty((), dtype=torch.float32)
    logprob = h.new_empty(h.shape[0], dtype=torch.float32)
    return loss, logprob, *_fake_gradients(h, weight, weight_grad)


def _setup_context(ctx, inputs, output) -> None:
    h, weight, target, ctx.temperature = inputs
    _, entropy, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(h, weight, target, lse, entropy)


def _autograd(ctx, grad_logprob: Tensor | None, grad_entropy: Tensor | None, _):
    saved = ctx.saved_tensors
    if grad_logprob is None:
        grad_logprob = torch.zeros_like(saved[-1])
    grad_h, grad_weight = _linear_logprob_backward(
        grad_logprob, grad_entropy, *saved, ctx.temperature, ctx.needs_input_grad[1]
    )
    return grad_h, grad_weight if ctx.needs_input_grad[1] else None, None, None


def _setup_cross_entropy(ctx, inputs, output) -> None:
    _, logprob, grad_h, grad_weight = output
    ctx.mark_non_differentiable(logprob, grad_h, grad_weight)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(grad_h, grad_weight)


def _autograd_cross_entropy(ctx, grad_loss: Tensor | None, *_):
    if grad_loss is None:
        return (None,) * 6
    # On a CPU the usual factor can be looked at, and a pass over the gradients saved.
    as_it_is = has_data(grad_loss) and not grad_loss.is_cuda and grad_loss.item() == 1
    grads = (
        (grad if as_it_is else (grad * grad_loss).to(grad.dtype)) if need else None
        for grad, need in zip(ctx.saved_tensors, ctx.needs_input_grad[:2])
    )
    return *grads, None, None, None, None


_linear_logprob_backward = Operator(
    "linear_logprob_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_backward_fake,
    check=_check_backward,
)
_linear_logprob = Operator(
    "linear_logprob",
    cpu=_cpu,
    cuda=_cuda,
    fake=_fake,
    check=_check_logprob,
    setup_context=_setup_context,
    backward=_autograd,
)
_linear_cross_entropy = Operator(
    "linear_cross_entropy",
    cpu=_cross_entropy_cpu,
    cuda=_cross_entropy_cuda,
    fake=_cross_entropy_fake,
    check=_check_cross_entropy,
    setup_context=_setup_cross_entropy,
    backward=_autograd_cross_entropy,
)
