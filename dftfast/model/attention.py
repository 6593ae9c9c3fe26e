"""Causal attention over documents packed end to end: what training passes to the decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dftfast.kernels import causal_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def packed_causal(
    offsets: Tensor, distinct: Tensor | None = None, place: Tensor | None = None
) -> Attend:
    """Attention in which a token sees itself and the earlier tokens of its own document.

    Args:
        offsets: int64[documents + 1], first token of each document; the last entry is the token
            count.
        distinct, place: where documents share tokens, as in `PackedBatch`: int64[U], the tokens
            that there is a row for, and int64[T], each token's row. On a GPU the attention, a
            small part of a layer, is then computed for all T.

    Returns:
        `attend(layer, q[U,H,D], k[U,Hk,D], v[U,Hk,D]) -> [U,H,D]`, differentiable, H a multiple
        of Hk; U is T where nothing is shared.
    """
    # Once for all layers: on a GPU it waits for the device.
    longest = max(offsets.diff().tolist(), default=0)
    if distinct is None or place is None or len(distinct) == len(place):
        return lambda layer, q, k, v: causal_attention(q, k, v, offsets, longest)
    if not place.is_cuda:
        return lambda layer, q, k, v: causal_attention(q, k, v, offsets, longest, place)
    again = torch.ones_like(place, dtype=torch.bool).index_fill(0, distinct, False).nonzero()[:, 0]
    into = place[again]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (_Spread.apply(x, distinct, place, again, into) for x in (q, k, v))
        return _Collect.apply(causal_attention(q, k, v, offsets, longest), distinct)

    return attend


class _Spread(torch.autograd.Function):
    """x[place].

    The gradient is that of the first copy, to which those of the others are added; autograd's own
    would add up all rows one by one.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, distinct: Tensor, place: Tensor, again: Tensor, into: Tensor
    ) -> Tensor:
        ctx.save_for_backward(distinct, again, into)
        return x.index_select(0, place)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        distinct, again, into = ctx.saved_tensors
        first = gradient.index_select(0, distinct)
        rest = gradient.index_select(0, again)
        if first.is_cuda:  # index_add would add in any order there
            return first.index_put((into,), rest, accumulate=True), None, None, None, None
        return first.index_add(0, into, rest), None, None, None, None


class _Collect(torch.autograd.Function):
    """x[distinct], where no row is asked for twice."""

    @staticmethod
    def forward(ctx, x: Tensor, distinct: Tensor) -> Tensor:
        ctx.save_for_backward(distinct)
        ctx.rows = len(x)
        return x.index_select(0, distinct)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (distinct,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.rows, *gradient.shape[1:]).index_copy(
            0, distinct, gradient
        ), None
