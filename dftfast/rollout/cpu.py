"""The CPU back end for bf16: a step is one C++ call, on effective weights packed once per version."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels.cpu_decoder import BLOCK, CPUDecoder
from .paged import Inputs, PagedDecoder


class PackedDecoder(PagedDecoder):
    """Merges a live adapter into a packed copy of the weights, and packs anew when `decoder.version` changes."""

    packed: CPUDecoder | None = None
    version = -1

    @staticmethod
    def supports(decoder, block_size: int) -> bool:
        c = decoder.config
        fits = CPUDecoder.supports(c.hidden_size, c.intermediate_size, c.head_dim, decoder.embed.dtype)
        return decoder.embed.device.type == "cpu" and block_size == BLOCK and fits

    def logits(self, inputs: Inputs) -> Tensor:
        if self.version != self.decoder.version:
            self.packed, self.version = None, self.decoder.version  # the old copy goes before the new one is made
            self.packed = self._pack()
        cos, sin = self.decoder.rope(inputs.positions)
        return self.packed.logits(
            inputs.tokens, cos, sin, self.cache, inputs.slots, inputs.block_table, inputs.query_offsets,
            inputs.lengths, inputs.rows,
        )  # fmt: skip

    def _pack(self) -> CPUDecoder:
        decoder, c = self.decoder, self.decoder.config
        layers = (
            {
                "qkv": effective_weight(layer.qkv),
                "qkv_bias": layer.qkv.bias,
                "o": effective_weight(layer.o),
                "gate_up": effective_weight(layer.gate_up),
                "down": effective_weight(layer.down),
                "input_norm": layer.input_norm,
                "post_norm": layer.post_norm,
                "q_norm": layer.q_norm,
                "k_norm": layer.k_norm,
            }
            for layer in decoder.layers
        )
        sizes = (c.num_heads, c.num_kv_heads, c.head_dim, c.intermediate_size, c.rms_norm_eps)
        return CPUDecoder(layers, decoder.embed, decoder.norm, decoder.head_weight, *sizes)


def effective_weight(linear) -> Tensor:
    """W + scale · B A of a `LoRALinear`, block by block, rounded once."""
    if linear.a is None:
        return linear.weight
    rank = linear.b.shape[1]
    blocks = zip(linear.b.split(linear.splits), linear.a.split(rank))
    return (linear.weight.float() + linear.scale * torch.cat([b @ a for b, a in blocks])).to(linear.weight.dtype)
