"""A head's logits on a CPU, a block of tokens at a time, and the gradients gathered from them."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, address, contiguous_like
from dftfast.kernels.compiled import cpu_kernels

BUFFER_BYTES = 32 * 2**20  # the block of logits: a few hundred tokens of a common vocabulary


class LogitsBlock:
    """Logits of a few consecutive tokens over the whole vocabulary.

    They are rounded to the dtype of h, as nn.Linear does.
    """

    def __init__(self, logits: Tensor, tokens: slice, target: Tensor, temperature: float):
        self.logits, self.tokens = logits, tokens
        self.tile = (
            DTYPES[logits.dtype],
            logits.data_ptr(),
            *logits.shape,
            target[tokens].data_ptr(),
            temperature,
        )

    def forward(self, outputs: Tensor) -> None:
        """Fill this block's part of outputs [3, T]: logprob, entropy, log-sum-exp."""
        self._run(cpu_kernels.logprob_tile_forward, *outputs)

    def backward(
        self, lse: Tensor, entropy: Tensor, grad_logprob: Tensor, grad_entropy: Tensor | None
    ) -> None:
        """Turn the logits into their gradient, in place."""
        self._run(cpu_kernels.logprob_tile_backward, lse, entropy, grad_logprob, grad_entropy)

    def forward_backward(self, outputs: Tensor, grad_logprob: Tensor) -> None:
        """Both, each row as soon as it is read: the second reading finds it in the cache."""
        self._run(cpu_kernels.logprob_tile_forward_backward, *outputs, grad_logprob)

    def _run(self, kernel, *vectors: Tensor | None) -> None:
        addresses = (address(None if v is None else v[self.tokens]) for v in vectors)
        kernel(*self.tile, *addresses, torch.get_num_threads())


def logits_blocks(
    h: Tensor, weight: Tensor, target: Tensor, temperature: float, budget: int | None = None
):
    """Blocks of equal size, of at most `budget` bytes where one token's logits fit in them."""
    budget = BUFFER_BYTES if budget is None else budget
    h, target = h.contiguous(), target.contiguous()
    (size, _), vocab = h.shape, weight.shape[0]
    cpu_kernels.check_targets(target.data_ptr(), size, vocab)
    if not size:
        return
    count = -(-size // max(1, budget // (vocab * h.element_size())))
    step = -(-size // count)
    buffer = h.new_empty(step, vocab)
    for start in range(0, size, step):
        tokens = slice(start, min(start + step, size))
        logits = buffer[: tokens.stop - start]
        torch.mm(h[tokens], weight.t(), out=logits)
        yield LogitsBlock(logits, tokens, target, temperature)


class HeadGradients:
    """Gradients of h and weight, gathered from the blocks' gradients of the logits.

    Every block reads and writes the whole gradient of the weight. Where that is wanted, a block may
    therefore be as large as it: `budget`, in bytes.
    """

    def __init__(self, h: Tensor, weight: Tensor, weight_grad: bool):
        self.h, self.weight, self.weight_grad = h, weight, weight_grad
        self.of_h, self.of_weight = contiguous_like(h), None
        self.budget = max(BUFFER_BYTES, weight.nbytes * weight_grad)

    def add(self, block: LogitsBlock) -> None:
        torch.mm(block.logits, self.weight, out=self.of_h[block.tokens])
        if not self.weight_grad:
            return
        h = self.h[block.tokens]
        if len(h) == len(self.h):
            self.of_weight = block.logits.t() @ h
            return
        if self.of_weight is None:
            self.of_weight = self.weight.new_zeros(self.weight.shape, dtype=torch.float32)
        if h.dtype == torch.float32:
            self.of_weight.addmm_(block.logits.t(), h)
            return
        # The product in a low dtype needs a copy: keep it small.
        for start in range(0, self.weight.shape[0], 8192):
            words = slice(start, start + 8192)
            self.of_weight[words] += block.logits[:, words].t() @ h

    def result(self) -> tuple[Tensor, Tensor]:
        if not self.weight_grad:
            return self.of_h, self.h.new_empty(0)
        if self.of_weight is None:
            return self.of_h, torch.zeros_like(self.weight)
        return self.of_h, self.of_weight.to(self.weight.dtype)
