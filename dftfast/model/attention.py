"""Causal attention over documents packed end to end: what training passes to the decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def packed_causal(offsets: Tensor) -> Attend:
    """Attention in which a token sees itself and the earlier tokens of its own document.

    Args:
        offsets: int64[documents + 1], first token of each document; the last entry is the token count.

    Returns:
        ``attend(layer, q[T,H,D], k[T,Hk,D], v[T,Hk,D]) -> [T,H,D]``, differentiable, H a multiple of Hk.
    """
    bounds = offsets.tolist()
    lengths = [end - start for start, end in zip(bounds, bounds[1:])]
    cu_seq = offsets.to(torch.int32)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.is_cuda and q.dtype != torch.float32:  # the flash kernel takes half precision
            return _varlen_cuda(q, k, v, cu_seq, max(lengths))
        documents = zip(*(x.float().split(lengths) for x in (q, k, v)))  # on a CPU faster than in half precision
        return torch.cat([_causal(*document) for document in documents]).to(q.dtype)

    return attend


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)[0].transpose(0, 1)


def _varlen_cuda(q: Tensor, k: Tensor, v: Tensor, cu_seq: Tensor, longest: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    return varlen_attn(q, k, v, cu_seq, cu_seq, longest, longest, window_size=(-1, 0))
