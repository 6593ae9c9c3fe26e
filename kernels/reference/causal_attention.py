"""Plain PyTorch twin of `causal_attention`: the truth of its tests, differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_attention(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> Tensor:
    documents = zip(*(x.transpose(0, 1).split(offsets.diff().tolist(), 1) for x in (q, k, v)))
    return torch.cat(
        [_attend(*(x[None] for x in document))[0] for document in documents], 1
    ).transpose(0, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
