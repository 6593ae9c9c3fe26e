"""Modules with transformers' names, signatures and parameters, computed by the operators."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from dftfast.kernels._causal_lm_loss import causal_lm_loss
from dftfast.kernels._rms_norm import rms_norm
from dftfast.kernels._swiglu import swiglu


class RMSNorm(nn.Module):
    """As `LlamaRMSNorm` and its sisters: hidden_states [..., hidden_size] -> the same shape.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
    """

    weight: Tensor
    variance_epsilon: float

    def __init__(self, hidden_size: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states: Tensor) -> Tensor:
        # In transformers a norm of fp32 weights gives fp32 for 16-bit states, as promotion has it.
        y = rms_norm(hidden_states, self.weight, self.variance_epsilon)
        return y.to(torch.promote_types(self.weight.dtype, hidden_states.dtype))


class MLPConfig(Protocol):
    """What `SwiGLUMLP` reads of a transformers configuration."""

    hidden_size: int
    intermediate_size: int
    hidden_act: str


class SwiGLUMLP(nn.Module):
    """As `LlamaMLP` and its sisters: x [..., hidden_size] -> the same shape.

    Shazeer, "GLU Variants Improve Transformer", 2020. Biases where the configuration has a true
    `mlp_bias`. Raises ValueError for another activation than SiLU.
    """

    def __init__(self, config: MLPConfig):
        super().__init__()
        if config.hidden_act not in ("silu", "swish"):
            raise ValueError(f"SwiGLUMLP: hidden_act silu expected, got {config.hidden_act!r}")
        wide, inner = config.hidden_size, config.intermediate_size
        bias = getattr(config, "mlp_bias", False)
        self.gate_proj = nn.Linear(wide, inner, bias=bias)
        self.up_proj = nn.Linear(wide, inner, bias=bias)
        self.down_proj = nn.Linear(inner, wide, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))


class CausalLMLoss(nn.Module):
    """`causal_lm_loss` with its options kept.

    hidden: [..., T, d] before the head; weight: [V, d] of the head; labels or shift_labels: int64
    [..., T]; the loss is float32.
    """

    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        softcap: float | None = None,
    ):
        super().__init__()
        self.options = {
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
            "softcap": softcap,
        }

    def forward(
        self,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        shift_labels: Tensor | None = None,
    ) -> Tensor:
        given = {"num_items_in_batch": num_items_in_batch, "shift_labels": shift_labels}
        return causal_lm_loss(hidden, weight, labels, **given, **self.options)
