"""Entries left out by numbers drawn from a seed and the entry's index alone, never stored."""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv


@triton.jit
def _dropout(x, seed, probability, y, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < size, other=0.0).to(tl.float32)
    # One Philox4x32-10 word an element.
    low, high = (at & 0xFFFFFFFF).to(tl.uint32), (at >> 32).to(tl.uint32)
    word, _, _, _ = tl.philox(tl.load(seed), low, high, low * 0, low * 0)
    kept = (word >> 8).to(tl.float32) * (1.0 / 16777216.0) >= probability
    v = tl.where(kept, v / (1.0 - probability), 0.0)
    tl.store(y + at, v.to(y.dtype.element_ty), mask=at < size)


def dropped(x: torch.Tensor, probability: float, seed: int) -> torch.Tensor:
    """x, contiguous, with entries 0 at this probability; the others grow by 1 / (1 - probability).

    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """
    y = torch.empty_like(x)
    if x.numel():
        # A tensor, not a scalar: Triton compiles anew for a scalar that is 1 or a multiple of 16.
        key = torch.full((1,), seed, dtype=torch.int64, device=x.device)
        _dropout[(cdiv(x.numel(), 1024),)](
            x, key, probability, y, x.numel(), BLOCK=1024, num_warps=4
        )
    return y
