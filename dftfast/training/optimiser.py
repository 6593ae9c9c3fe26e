"""AdamW on fp32 masters with warm-up, cosine decay, clipping and a guard against non-finite gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


class TrainingStopped(Exception):
    """Too many steps in a row had a non-finite loss or gradient."""


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101), decoupled weight decay.

    Parameters in half precision get fp32 masters; fp32 parameters (LoRA) are their own. A step whose
    gradient norm is not finite is skipped; ``MAX_SKIPPED`` in a row raise TrainingStopped.

    Args:
        learning_rate: the peak, reached after ``warmup`` (a share of ``total_steps``), then a cosine to zero.
        grad_clip: largest L2 norm of the whole gradient; 0 leaves it alone.
    """

    MAX_SKIPPED = 10

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        total_steps: int,
        warmup: float = 0.05,
        weight_decay: float = 0.0,
        grad_clip: float = 1.0,
    ):
        self.parameters = list(parameters)
        half = [p.dtype != torch.float32 for p in self.parameters]
        self.masters = [p.detach().float() if h else p for p, h in zip(self.parameters, half)]
        self.learning_rate, self.total_steps, self.grad_clip = learning_rate, total_steps, grad_clip
        self.warmup_steps = max(1, round(warmup * total_steps))
        self.steps_taken = self.skipped_in_a_row = 0
        self.adamw = torch.optim.AdamW(self.masters, lr=0.0, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)

    def rate(self) -> float:
        """Learning rate of the coming step."""
        step = self.steps_taken
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def step(self) -> tuple[float, bool]:
        """Update from the gradients and clear them. Returns (gradient norm before clipping, step was taken)."""
        for parameter, master in zip(self.parameters, self.masters):
            if master is not parameter:
                master.grad = parameter.grad.float()
        norm = nn.utils.get_total_norm([m.grad for m in self.masters])
        finite = bool(norm.isfinite())
        if finite:
            if self.grad_clip:
                nn.utils.clip_grads_with_norm_(self.masters, self.grad_clip, norm)
            for group in self.adamw.param_groups:
                group["lr"] = self.rate()
            self.adamw.step()
            with torch.no_grad():
                for parameter, master in zip(self.parameters, self.masters):
                    if master is not parameter:
                        parameter.copy_(master)
        self.steps_taken += 1
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        for tensor in (*self.parameters, *self.masters):
            tensor.grad = None
        if self.skipped_in_a_row >= self.MAX_SKIPPED:
            raise TrainingStopped(f"{self.MAX_SKIPPED} steps in a row had a non-finite gradient; lower the rate")
        return float(norm), finite
