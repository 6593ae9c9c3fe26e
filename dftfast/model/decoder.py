"""The decoder: Qwen3, Qwen2.5 and Llama-type models by configuration of one class.

One forward serves training and sampling. It takes a ragged batch of tokens end to end, without
padding, and is told how to attend: over the packed documents (training) or over a paged cache
(rollout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dftfast.kernels import add_rms_norm, qk_norm_rope, rms_norm, swiglu
from dftfast.model.attention import Attend
from dftfast.model.config import ModelConfig
from dftfast.model.lora import LoRALinear
from dftfast.model.rotary import rope_frequencies, rope_magnitude


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig, **factory):
        super().__init__()
        c = config
        self.heads, self.kv_heads, self.head_dim, self.eps = (
            c.num_heads,
            c.num_kv_heads,
            c.head_dim,
            c.rms_norm_eps,
        )
        q_size, kv_size = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
        qkv = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

        def frozen(size: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(size, **factory), requires_grad=False)

        self.input_norm, self.post_norm = frozen(c.hidden_size), frozen(c.hidden_size)
        self.q_norm = frozen(c.head_dim) if c.qk_norm else None
        self.k_norm = frozen(c.head_dim) if c.qk_norm else None
        self.qkv = LoRALinear(
            qkv, [q_size, kv_size, kv_size], c.hidden_size, c.attention_bias, **factory
        )
        self.o = LoRALinear(("self_attn.o_proj",), [c.hidden_size], q_size, False, **factory)
        gate_up = ("mlp.gate_proj", "mlp.up_proj")
        self.gate_up = LoRALinear(
            gate_up, [c.intermediate_size] * 2, c.hidden_size, False, **factory
        )
        self.down = LoRALinear(
            ("mlp.down_proj",), [c.hidden_size], c.intermediate_size, False, **factory
        )
        self.activation_checkpointing = False  # keep only this layer's input for the backward pass

    def forward(self, index: int, h: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """h [T, hidden] before the layer -> h after it; cos, sin fp32 [T, head_dim / 2]."""
        qkv = self.qkv(rms_norm(h, self.input_norm, self.eps))
        norms = (self.q_norm, self.k_norm)
        q, k, v = qk_norm_rope(qkv, *norms, cos, sin, self.heads, self.kv_heads, self.eps)
        attended = self.o(attend(index, q, k, v).flatten(1))
        x, h = add_rms_norm(attended, h, self.post_norm, self.eps)
        return h + self.down(swiglu(self.gate_up(x)))


class Decoder(nn.Module):
    """A decoder without its sampling: tokens to hidden states; `head_weight` makes logits of those.

    `version` counts changes of the weights, so that caches of keys, values or packed weights know
    when they are stale; whoever writes to the weights adds one. `sharded` tells that processes
    hold a part of each layer (`shard`).
    """

    inverse_frequencies: Tensor

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cpu",
    ):
        super().__init__()
        self.config, self.version, self.sharded = config, 0, False
        factory = {"dtype": dtype, "device": device}
        shape = (config.vocab_size, config.hidden_size)
        self.embed = nn.Parameter(torch.empty(shape, **factory), requires_grad=False)
        layers = nn.ModuleList(DecoderLayer(config, **factory) for _ in range(config.num_layers))
        self.layers = cast(Sequence[DecoderLayer], layers)
        self.norm = nn.Parameter(torch.empty(config.hidden_size, **factory), requires_grad=False)
        tied = config.tie_word_embeddings
        self.head = (
            None if tied else nn.Parameter(torch.empty(shape, **factory), requires_grad=False)
        )
        self.magnitude = rope_magnitude(config)
        self.register_buffer(
            "inverse_frequencies", rope_frequencies(config).to(device), persistent=False
        )

    def set_activation_checkpointing(self, share: float) -> None:
        """Let the first layers, this share of all, keep only their input for the backward pass.

        `layer.activation_checkpointing` chooses one by one.
        """
        for index, layer in enumerate(self.layers):
            layer.activation_checkpointing = index < round(share * len(self.layers))

    @property
    def head_weight(self) -> Tensor:
        """[vocab, hidden]: the embedding itself where the two are tied."""
        return self.embed if self.head is None else self.head

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotary angles, fp32 [T, head_dim / 2] each."""
        angles = positions[:, None].float() * self.inverse_frequencies
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self.magnitude == 1 else (cos * self.magnitude, sin * self.magnitude)

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Final hidden states [T, hidden], after the last norm, of int64[T] tokens at positions."""
        rotary = self.rope(positions)
        still = tuple(map(torch.full_like, rotary, (1.0, 0.0))) if self.config.no_rope else rotary
        h = F.embedding(tokens, self.embed)
        for index, layer in enumerate(self.layers):
            cos, sin = still if index in self.config.no_rope else rotary
            if layer.activation_checkpointing and torch.is_grad_enabled():
                h = checkpoint(
                    layer, index, h, cos, sin, attend, use_reentrant=False, preserve_rng_state=False
                )
            else:
                h = layer(index, h, cos, sin, attend)
        return rms_norm(h, self.norm, self.config.rms_norm_eps)
