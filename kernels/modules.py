"""Modules with transformers' names, signatures and parameters, computed by the operators."""

from __future__ import annotations

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


class SwiGLUMLP(nn.Module):
    """As `LlamaMLP` and its sisters, without bias: x [..., hidden_size] -> the same shape.

    Shazeer, "GLU Variants Improve Transformer", 2020.
    """

    def __init__(self, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))


class CausalLMLoss(nn.Module):
    """`causal_lm_loss` with its options kept.

    forward(hidden [..., T, d], weight [V, d], labels int64 [..., T]) -> fp32 loss.
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

    def forward(self, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        return causal_lm_loss(hidden, weight, labels, **self.options)
