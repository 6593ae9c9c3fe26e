"""A head's logits on a CPU, a block of tokens at a time, and the gradients gathered from them."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, address, contiguous_like
from dftfast.kernels.compiled import cpu_kernels

# A block of logits: at least so many bytes, and so many tokens that a product with the whole weight
# is worth reading it for.
BLOCK_BYTES, BLOCK_TOKENS = 32 * 2**20, 256


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
    h: Tensor, weight: Tensor, target: Tensor, temperature: float, weight_grad: bool = False
):
    """Blocks of equal size.

    Every block's part of the weight's gradient is added to the whole of it. Where that is wanted, a
    block may therefore be as large as the weight.
    """
    h, target = h.contiguous(), target.contiguous()
    (size, _), vocab = h.shape, weight.shape[0]
    cpu_kernels.check_targets(target.data_ptr(), size, vocab)
    if not size:
        return
    most = max(BLOCK_TOKENS, BLOCK_BYTES // (vocab * h.element_size()), h.shape[1] * weight_grad)
    count = -(-size // most)
    step = -(-size // count)
    buffer = h.new_empty(step, vocab)
    # Before it is first written to: else that costs a fault every 4 KiB.
    cpu_kernels.advise_huge_pages(buffer.data_ptr(), buffer.nbytes)
    for start in range(0, size, step):
        tokens = slice(start, min(start + step, size))
        logits = buffer[: tokens.stop - start]
        torch.mm(h[tokens], weight.t(), out=logits)
        yield LogitsBlock(logits, tokens, target, temperature)


class HeadGradients:
    """Gradients of h and weight, gathered from the blocks' gradients of the logits.

    That of the weight is summed in float32 where there are several blocks.
    """

    def __init__(self, h: Tensor, weight: Tensor, weight_grad: bool):
        self.h, self.weight, self.weight_grad = h, weight, weight_grad
        self.of_h, self.of_weight = contiguous_like(h), None

    def add(self, block: LogitsBlock) -> None:
        torch.mm(block.logits, self.weight, out=self.of_h[block.tokens])
        if self.weight_grad:
            self._add_to_weight(block.logits.t(), self.h[block.tokens])

    def _add_to_weight(self, by_logits: Tensor, h: Tensor) -> None:
        if self.of_weight is None:
            alone = len(h) == len(self.h)
            dtype = h.dtype if alone else torch.float32
            self.of_weight = h.new_empty(self.weight.shape, dtype=dtype)
            if dtype == h.dtype:
                torch.mm(by_logits, h, out=self.of_weight)
                return
            self.of_weight.zero_()
        if h.dtype == torch.float32:
            self.of_weight.addmm_(by_logits, h)
            return
        # The product in a low dtype needs a copy: keep it small.
        for start in range(0, self.weight.shape[0], 8192):
            words = slice(start, start + 8192)
            self.of_weight[words] += by_logits[words] @ h

    def result(self) -> tuple[Tensor, Tensor]:
        if not self.weight_grad:
            return self.of_h, self.h.new_empty(0)
        if self.of_weight is None:
            return self.of_h, torch.zeros_like(self.weight)
        return self.of_h, self.of_weight.to(self.weight.dtype)
