"""A frozen base in four bits, so that a large model trains on one card (QLoRA).

Dettmers et al. 2023, https://arxiv.org/abs/2305.14314: each 64 values of a matrix share a scale
and have one of sixteen quantiles of the normal distribution (NF4); the scales are in eight bits.
bitsandbytes makes and reads the codes. Products are of the decoded matrix, which is made for each
of them, in the backward pass as well, and given up after it.
"""

from __future__ import annotations

from torch import Tensor

from dftfast.runtime.errors import UserError

BLOCK = 64
# Codes, their scales in eight bits, and the scales' own for each 256 of them.
BYTES_PER_WEIGHT = 0.5 + 1 / 64 + 4 / (64 * 256)


class Nf4:
    """The values of a matrix [out, in] in four bits, on the matrix' device."""

    def __init__(self, weight: Tensor):
        from bitsandbytes.functional import quantize_4bit

        if weight.numel() % BLOCK:
            raise UserError(
                f"model.quantization: a matrix of {tuple(weight.shape)} is no whole number of "
                f"blocks of {BLOCK} values; choose none"
            )
        # A row a block: bitsandbytes 0.50 misreads blocks that cross rows on a CPU.
        self.shape = weight.shape
        self.codes, self.state = quantize_4bit(
            weight.reshape(-1, BLOCK), blocksize=BLOCK, quant_type="nf4", compress_statistics=True
        )

    def decoded(self) -> Tensor:
        """A new tensor of the matrix' shape and dtype."""
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(self.codes, self.state).view(self.shape)


def check_bitsandbytes() -> None:
    """Raise UserError where bitsandbytes is missing."""
    try:
        import bitsandbytes.functional  # noqa: F401
    except ImportError as wrong:
        raise UserError(
            f"model.quantization: needs bitsandbytes ({wrong}): pip install 'dftfast[quantization]'"
        ) from None
