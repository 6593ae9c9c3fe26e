"""What training and sampling compute and move: operations and bytes, counted from sizes.

A product of [m, k] and [k, n] is 2·m·k·n operations. Attention counts the pairs of a token and
itself or an earlier one: the products of the scores and of the values are 4·heads·head_dim
operations a pair forward, twice that backward.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dftfast.model.config import ModelConfig
from dftfast.rollout.memory import num_adapter_weights, num_layer_weights

# Passes over the activations of a layer: rms_norm and add_rms_norm (2 d and 4 d), q, k and v
# rotated, swiglu (3 inner), the sum after it (3 d).
_HIDDEN_PASSES, _QKV_PASSES, _INNER_PASSES = 9, 2, 3


@dataclass(frozen=True)
class Work:
    """Operations by kind, and bytes of the passes that only move data.

    Attributes:
        products: of the layers' matrices and their adapters.
        attention: of scores and values.
        head: of the hidden states and the vocabulary.
        rows: bytes of norms, rotations, gates and the optimiser.
        layer_passes: passes through one layer, forward and backward together, each of which costs
            the host its calls.
    """

    products: float = 0
    attention: float = 0
    head: float = 0
    rows: float = 0
    layer_passes: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self._parts(), other._parts())))

    def __mul__(self, times: float) -> Work:
        return Work(*(part * times for part in self._parts()))

    def _parts(self) -> tuple[float, ...]:
        return self.products, self.attention, self.head, self.rows, self.layer_passes


def head_weights(config: ModelConfig) -> int:
    return config.vocab_size * config.hidden_size


def causal_pairs(lengths: Iterable[int]) -> int:
    """Pairs of a token and itself or an earlier one of its document."""
    return sum(n * (n + 1) // 2 for n in map(int, lengths))


def forward(config: ModelConfig, tokens: float, pairs: float, targets: float) -> Work:
    """A pass through the decoder without gradients, its matrices in two bytes a number.

    Args:
        tokens: that are computed.
        pairs: of attention.
        targets: tokens whose logits are computed.
    """
    c, layers = config, config.num_layers
    qkv = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    row = _HIDDEN_PASSES * c.hidden_size + _QKV_PASSES * qkv + _INNER_PASSES * c.intermediate_size
    return Work(
        products=2 * tokens * num_layer_weights(c),
        attention=4 * pairs * layers * c.num_heads * c.head_dim,
        head=2 * targets * head_weights(c),
        rows=2 * tokens * layers * row,
        layer_passes=layers / 2,
    )


def training_pass(
    config: ModelConfig, rank: int, tokens: float, pairs: float, targets: float, again: float = 0
) -> Work:
    """Forward and backward of a LoRA on all linear layers of a frozen decoder.

    The gradient of the first layer's input is not needed, which saves a product there. The head's
    logits are computed once and give the gradient of the hidden states.

    Args:
        again: share of the layers that are computed again in the backward pass.
    """
    c, once = config, forward(config, tokens, pairs, targets)
    qkv = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    base = once.products * (2 + again) - 2 * tokens * c.hidden_size * qkv
    # forward u = xAᵀ and uBᵀ; backward dB, dA, and what goes on to u and x
    low_rank = 2 * tokens * num_adapter_weights(c, rank) * (3 + again)
    low_rank -= 2 * tokens * 3 * rank * c.hidden_size
    return Work(
        products=base + low_rank,
        attention=once.attention * (3 + again),
        head=once.head * 2,
        rows=once.rows * (3 + again),
        layer_passes=c.num_layers * (1 + again / 2),
    )


def optimiser_step(config: ModelConfig, rank: int) -> Work:
    """AdamW on fp32 masters: parameter, gradient and two moments read, three of them written."""
    return Work(rows=7 * 4 * num_adapter_weights(config, rank))
