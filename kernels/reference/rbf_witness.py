"""Plain PyTorch twin of `rbf_witness`: the truth of its tests, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def rbf_witness(x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool = False) -> Tensor:
    squared_distance = (x[:, None, :] - y[None, :, :]).square().sum(-1)
    kernel = torch.exp(-squared_distance[:, :, None] / (2 * bandwidths.to(x.dtype).square()))
    count = y.shape[0]
    if exclude_diagonal:
        kernel = kernel.masked_fill(
            torch.eye(count, dtype=torch.bool, device=x.device)[:, :, None], 0.0
        )
        count -= 1
    return kernel.sum(1) / count
