"""Causal attention over documents packed end to end: what training passes to the decoder."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..kernels import causal_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def packed_causal(offsets: Tensor) -> Attend:
    """Attention in which a token sees itself and the earlier tokens of its own document.

    Args:
        offsets: int64[documents + 1], first token of each document; the last entry is the token count.

    Returns:
        ``attend(layer, q[T,H,D], k[T,Hk,D], v[T,Hk,D]) -> [T,H,D]``, differentiable, H a multiple of Hk.
    """
    longest = max(offsets.diff().tolist(), default=0)  # once for all layers: on a GPU it waits for the device
    return lambda layer, q, k, v: causal_attention(q, k, v, offsets, longest)
