"""What this machine can do at most, measured: the limits that CPU figures stand beside."""

from __future__ import annotations

from functools import cache, partial

import torch
from paired import seconds

from dftfast.kernels import pack_weight, packed_linear


def _best(call, rounds: int = 5) -> float:
    call()
    return min(seconds(call) for _ in range(rounds))


@cache
def bandwidth() -> float:
    """Bytes a second: the better of reading 256 MiB and of copying them (read and written)."""
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    return max(
        source.nbytes / _best(source.sum), 2 * source.nbytes / _best(lambda: target.copy_(source))
    )


@cache
def bf16_rate() -> float:
    """Floating-point operations a second of the best bf16 product, torch's or ours."""
    best = 0.0
    for rows, out, inner in ((96, 4096, 512), (384, 2048, 1024), (2048, 2048, 2048)):
        x, weight = torch.randn(rows, inner).bfloat16(), torch.randn(out, inner).bfloat16()
        packed = pack_weight(weight)
        for product in (partial(torch.matmul, x, weight.T), partial(packed_linear, x, packed)):
            best = max(best, 2 * rows * out * inner / _best(product))
    return best


def product_seconds(rows: int, weights: int) -> float:
    """At least this long for bf16 products of so many rows and `weights` numbers from memory."""
    return max(2 * weights / bandwidth(), 2 * rows * weights / bf16_rate())
