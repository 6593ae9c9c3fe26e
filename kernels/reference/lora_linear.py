"""Plain PyTorch twin of `lora_linear` (no dropout): the truth of its tests, differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def lora_linear(x, weight, a, b, scale: float, bias=None, splits=None) -> Tensor:
    u = (x @ a.to(x.dtype).T).split(b.shape[1], -1)
    low_rank = [ui @ bi.to(x.dtype).T for ui, bi in zip(u, b.split(splits or [len(b)]))]
    return F.linear(x, weight, bias) + scale * torch.cat(low_rank, -1)
