"""Log-probability and entropy of a language-model head, without the matrix of all logits."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.compiled import cpu_kernels

BUFFER_BYTES = 32 * 2**20  # the block of logits: a few hundred tokens of a common vocabulary
DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # in the order of csrc/linear_logprob.h


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

    Raises ValueError for shapes that do not fit, a target outside the vocabulary or temperature <=
    0; TypeError for other dtypes.
    """
    _check(h, weight, target, temperature)
    logprob, entropy, _ = torch.ops.dftfast.linear_logprob(h, weight, target, temperature)
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
    _check(h, weight, target, temperature)
    if token_weight.shape != target.shape or token_weight.dtype != torch.float32:
        raise ValueError(
            f"token_weight must be float32 of shape {tuple(target.shape)}, "
            f"got {token_weight.dtype} of shape {tuple(token_weight.shape)}"
        )
    if token_weight.requires_grad:
        raise ValueError(
            "linear_cross_entropy is not differentiable in token_weight; "
            "detach it or use linear_logprob"
        )
    if not torch.is_grad_enabled() or not (h.requires_grad or weight.requires_grad):
        logprob, _ = linear_logprob(h, weight, target, temperature)
        return -(token_weight * logprob).sum(), logprob
    loss, logprob, _, _ = torch.ops.dftfast.linear_cross_entropy(
        h, weight, target, token_weight, temperature, weight.requires_grad
    )
    return loss, logprob


def _check(h: Tensor, weight: Tensor, target: Tensor, temperature: float) -> None:
    if h.dim() != 2 or weight.dim() != 2 or h.shape[1] != weight.shape[1]:
        raise ValueError(
            f"h [T, d] and weight [V, d] expected, got {tuple(h.shape)} and {tuple(weight.shape)}"
        )
    if target.shape != h.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"target must be int64 of shape {tuple(h.shape[:1])}, got {target.dtype} of shape "
            f"{tuple(target.shape)}"
        )
    if h.dtype not in DTYPES or weight.dtype != h.dtype:
        raise TypeError(
            "h and weight must both be float32, bfloat16 or float16, "
            f"got {h.dtype} and {weight.dtype}; convert one"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


@torch.library.custom_op("dftfast::linear_logprob", mutates_args=(), device_types="cpu")
def _logprob(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """logprob, entropy and log-sum-exp, float32 [T] each."""
    outputs = h.new_empty(3, h.shape[0], dtype=torch.float32)
    for block in _blocks(h, weight, target, temperature):
        block.forward(outputs)
    logprob, entropy, lse = (row.clone() for row in outputs)
    return logprob, entropy, lse


class _Block:
    """Logits of a few consecutive tokens over the whole vocabulary.

    They are rounded to the dtype of h, as nn.Linear does.
    """

    def __init__(self, logits: Tensor, tokens: slice, target: Tensor, temperature: float):
        self.logits, self.tokens = logits, tokens
        address = target.data_ptr() + tokens.start * target.element_size()
        self.tile = (
            DTYPES.index(logits.dtype),
            logits.data_ptr(),
            *logits.shape,
            address,
            temperature,
        )

    def forward(self, outputs: Tensor) -> None:
        """Fill this block's part of outputs [3, T]: logprob, entropy, log-sum-exp."""
        addresses = (row[self.tokens].data_ptr() for row in outputs)
        cpu_kernels.logprob_tile_forward(*self.tile, *addresses, torch.get_num_threads())

    def backward(
        self, lse: Tensor, entropy: Tensor, grad_logprob: Tensor, grad_entropy: Tensor | None
    ) -> None:
        """Turn the logits into their gradient, in place."""
        addresses = [t[self.tokens].data_ptr() for t in (lse, entropy, grad_logprob)]
        by_entropy = 0 if grad_entropy is None else grad_entropy[self.tokens].data_ptr()
        cpu_kernels.logprob_tile_backward(
            *self.tile, *addresses, by_entropy, torch.get_num_threads()
        )


def _blocks(h: Tensor, weight: Tensor, target: Tensor, temperature: float):
    h, target = h.contiguous(), target.contiguous()
    (size, _), vocab = h.shape, weight.shape[0]
    cpu_kernels.check_targets(target.data_ptr(), size, vocab)
    if not size:
        return
    count = -(-size // max(1, BUFFER_BYTES // (vocab * h.element_size())))
    step = -(-size // count)
    buffer = h.new_empty(step, vocab)
    for start in range(0, size, step):
        tokens = slice(start, min(start + step, size))
        logits = buffer[: tokens.stop - start]
        torch.mm(h[tokens], weight.t(), out=logits)
        yield _Block(logits, tokens, target, temperature)


class _Gradients:
    """Gradients of h and weight, gathered from the blocks' gradients of the logits."""

    def __init__(self, h: Tensor, weight: Tensor, weight_grad: bool):
        self.h, self.weight = h, weight
        self.of_h = torch.empty_like(h, memory_format=torch.contiguous_format)
        self.of_weight = (
            weight.new_zeros(weight.shape, dtype=torch.float32) if weight_grad else None
        )

    def add(self, block: _Block) -> None:
        torch.mm(block.logits, self.weight, out=self.of_h[block.tokens])
        if self.of_weight is not None:
            # The product in a low dtype needs a copy: keep it small.
            for start in range(0, self.weight.shape[0], 8192):
                words = slice(start, start + 8192)
                self.of_weight[words] += block.logits[:, words].t() @ self.h[block.tokens]

    def result(self) -> tuple[Tensor, Tensor]:
        return self.of_h, self.h.new_empty(0) if self.of_weight is None else self.of_weight.to(
            self.weight.dtype
        )


@_logprob.register_kernel("cuda")
def _(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    from dftfast.kernels.triton.linear_logprob import linear_logprob_forward

    return linear_logprob_forward(h, weight, target, temperature)


@_logprob.register_fake
def _(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    logprob, entropy, lse = (h.new_empty(h.shape[0], dtype=torch.float32) for _ in range(3))
    return logprob, entropy, lse


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
    grad_logprob = grad_logprob.contiguous()
    grad_entropy = None if grad_entropy is None else grad_entropy.contiguous()
    gradients = _Gradients(h, weight, weight_grad)
    for block in _blocks(h, weight, target, temperature):
        block.backward(lse, entropy, grad_logprob, grad_entropy)
        gradients.add(block)
    return gradients.result()


@_logprob_backward.register_kernel("cuda")
def _(grad_logprob, grad_entropy, h, weight, target, lse, entropy, temperature, weight_grad):
    from dftfast.kernels.triton.linear_logprob import linear_logprob_backward

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
    h: Tensor,
    weight: Tensor,
    target: Tensor,
    token_weight: Tensor,
    temperature: float,
    weight_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """loss, logprob, gradient of h, gradient of weight (an empty tensor without weight_grad)."""
    outputs = h.new_empty(3, h.shape[0], dtype=torch.float32)
    logprob, entropy, lse = outputs
    grad_logprob = -token_weight
    gradients = _Gradients(h, weight, weight_grad)
    for block in _blocks(h, weight, target, temperature):
        block.forward(outputs)
        block.backward(lse, entropy, grad_logprob, None)
        gradients.add(block)
    return -(token_weight * logprob).sum(), logprob.clone(), *gradients.result()


@_cross_entropy.register_kernel("cuda")
def _(h, weight, target, token_weight, temperature, weight_grad):
    from dftfast.kernels.triton.linear_logprob import linear_cross_entropy_forward

    loss, logprob, grad_h, grad_weight = linear_cross_entropy_forward(
        h, weight, target, token_weight, temperature, weight_grad
    )
    return loss, logprob, grad_h, grad_weight if weight_grad else h.new_empty(0)


@_cross_entropy.register_fake
def _(h, weight, target, token_weight, temperature, weight_grad):
    loss = h.new_empty((), dtype=torch.float32)
    logprob = h.new_empty(h.shape[0], dtype=torch.float32)
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
