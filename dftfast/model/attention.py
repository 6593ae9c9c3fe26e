"""Causal attention over documents packed end to end: what training passes to the decoder."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..kernels import causal_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def packed_causal(offsets: Tensor, distinct: Tensor | None = None, place: Tensor | None = None) -> Attend:
    """Attention in which a token sees itself and the earlier tokens of its own document.

    Args:
        offsets: int64[documents + 1], first token of each document; the last entry is the token count.
        distinct, place: where documents share tokens, as in ``PackedBatch``: int64[U], the tokens that there is a row
            for, and int64[T], each token's row. Only the attention, a small part of a layer, is then computed for all T.

    Returns:
        ``attend(layer, q[U,H,D], k[U,Hk,D], v[U,Hk,D]) -> [U,H,D]``, differentiable, H a multiple of Hk; U is T where
        nothing is shared.
    """
    longest = max(offsets.diff().tolist(), default=0)  # once for all layers: on a GPU it waits for the device
    if distinct is None or len(distinct) == len(place):
        return lambda layer, q, k, v: causal_attention(q, k, v, offsets, longest)
    return lambda layer, q, k, v: causal_attention(q[place], k[place], v[place], offsets, longest)[distinct]
