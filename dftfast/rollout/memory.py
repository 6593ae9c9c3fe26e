"""Memory: what a cached token costs, and what a whole run will need."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dftfast.kernels.cpu_decoder import CPUDecoder
from dftfast.model.config import ModelConfig
from dftfast.model.nf4 import BYTES_PER_WEIGHT
from dftfast.runtime.errors import UserError

GIB = 2**30


def cache_bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize


def num_weights(config: ModelConfig) -> int:
    """Parameters of the decoder, a tied head counted once."""
    c = config
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    norms = 2 * c.hidden_size + (2 * c.head_dim if c.qk_norm else 0)
    bias = q + 2 * kv if c.attention_bias else 0
    embeddings = c.vocab_size * c.hidden_size * (1 if c.tie_word_embeddings else 2)
    return num_layer_weights(c) + c.num_layers * (norms + bias) + embeddings + c.hidden_size


def num_layer_weights(config: ModelConfig) -> int:
    """Numbers in the matrices of all layers."""
    c = config
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    return c.num_layers * c.hidden_size * (2 * q + 2 * kv + 3 * c.intermediate_size)


def packed_bytes(config: ModelConfig) -> int:
    """The packed copy of all matrices, the head's included."""
    c = config
    return 2 * CPUDecoder.packed_numel(
        c.num_layers,
        c.vocab_size,
        c.hidden_size,
        c.intermediate_size,
        c.num_heads,
        c.num_kv_heads,
        c.head_dim,
    )


def num_adapter_weights(config: ModelConfig, rank: int) -> int:
    """Parameters of a LoRA on all linear layers: rank x (in + out) for the seven projections."""
    c = config
    d, q, kv, f = (
        c.hidden_size,
        c.num_heads * c.head_dim,
        c.num_kv_heads * c.head_dim,
        c.intermediate_size,
    )
    return c.num_layers * rank * ((d + q) + 2 * (d + kv) + (q + d) + 2 * (d + f) + (f + d))


def layer_activation_bytes(config: ModelConfig, rank: int, dtype: torch.dtype) -> int:
    """What one layer keeps of one token for its backward pass.

    Two residual streams and their normed copies, q/k/v before and after the rotation, the
    attention's output and its fp32 log-sum-exp, gate and up, their product, and the adapter's inner
    products.
    """
    c = config
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    values = 4 * c.hidden_size + 2 * (q + 2 * kv) + q + 3 * c.intermediate_size + 7 * rank
    return values * dtype.itemsize + 4 * c.num_heads


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device.

    Every device holds the whole policy; a rollout's cache is released before the update.

    `packed` is the copy of the matrices that rollouts keep: in bf16 on a CPU (`PackedDecoder`), in
    eight bits on a GPU with `rollout.precision = fp8`, else none.
    """

    weights: int
    packed: int
    adapter: int
    gradients: int
    optimizer: int
    cache: int
    activations: int
    capacity: int | None

    @property
    def fixed(self) -> int:
        return self.weights + self.packed + self.adapter + self.gradients + self.optimizer

    @property
    def peak(self) -> int:
        """The larger of sampling (with the cache) and updating (with the activations)."""
        return self.fixed + max(self.cache, self.activations)

    @property
    def fits(self) -> bool:
        return self.capacity is None or self.peak <= self.capacity

    def __str__(self) -> str:
        parts = (
            "weights",
            "packed",
            "adapter",
            "gradients",
            "optimizer",
            "cache",
            "activations",
            "peak",
        )
        return ", ".join(f"{part} {getattr(self, part) / GIB:.2f} GiB" for part in parts)


@dataclass(frozen=True)
class RunShape:
    """The sizes of a run that its memory follows from.

    Attributes:
        rank: of the LoRA, whose masters, gradients and two AdamW moments are fp32.
        sequences: that sample at once.
        tokens_per_sequence: prompt and output, at their longest.
        update_tokens: of one packed forward and backward pass.
        activation_checkpointing: keep only each layer's input, and recompute one layer at a time.
    """

    rank: int
    sequences: int
    tokens_per_sequence: int
    update_tokens: int
    activation_checkpointing: bool = True

    def __post_init__(self) -> None:
        if min(self.rank, self.sequences, self.tokens_per_sequence, self.update_tokens) < 0:
            raise UserError("plan_memory: sizes must not be negative")


def plan_memory(
    config: ModelConfig,
    shape: RunShape,
    *,
    cpu: bool = False,
    nf4: bool = False,
    fp8: bool = False,
    dtype: torch.dtype = torch.bfloat16,
    capacity: int | None = None,
) -> MemoryPlan:
    """Memory of a run on one device, predicted from sizes alone.

    Args:
        config: of the model.
        shape: of the run.
        cpu: the device is a CPU.
        nf4: the layers' matrices are held in four bits, and decoded one at a time.
        fp8: rollouts are sampled from an eight-bit copy of the layers' matrices.
        capacity: bytes of the device that may be used; `MemoryPlan.fits` compares.
    """
    adapter = 4 * num_adapter_weights(config, shape.rank)
    layer = layer_activation_bytes(config, shape.rank, dtype)
    residual = config.hidden_size * dtype.itemsize
    layers = (
        config.num_layers * residual + 2 * layer
        if shape.activation_checkpointing
        else config.num_layers * layer
    )
    # The final hidden states, and the gradients on the way.
    head = 4 * residual + 2 * config.intermediate_size * dtype.itemsize
    matrices = num_layer_weights(config)
    weights = num_weights(config) * dtype.itemsize
    if nf4:
        largest = 2 * config.intermediate_size * config.hidden_size
        weights += int(matrices * BYTES_PER_WEIGHT) + (largest - matrices) * dtype.itemsize
    copy = packed_bytes(config) if cpu else matrices if fp8 else 0
    return MemoryPlan(
        weights=weights,
        packed=copy,
        adapter=adapter,
        gradients=adapter,
        optimizer=2 * adapter,
        cache=shape.sequences * shape.tokens_per_sequence * cache_bytes_per_token(config, dtype),
        activations=shape.update_tokens * (layers + head),
        capacity=capacity,
    )


def sequences_that_fit(
    config: ModelConfig,
    plan: MemoryPlan,
    tokens_per_sequence: int,
    dtype: torch.dtype = torch.bfloat16,
) -> int:
    """How many sequences of this length the memory beside the policy holds at once.

    `plan.capacity` must be set.
    """
    assert plan.capacity is not None, "the plan was made without a capacity"
    return max(plan.capacity - plan.fixed, 0) // (
        tokens_per_sequence * cache_bytes_per_token(config, dtype)
    )
