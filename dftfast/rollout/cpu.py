"""The CPU back end in bf16: a step is one C++ call, on weights packed once per version."""

from __future__ import annotations

import logging
import time

import torch
from torch import Tensor

from dftfast.kernels.cpu_decoder import BLOCK, CPUDecoder, on_huge_pages
from dftfast.rollout.paged import Inputs, PagedDecoder

log = logging.getLogger(__name__)


class PackedDecoder(PagedDecoder):
    """Merges a live adapter into a packed copy of the weights.

    The copy outlives `release` and is made anew only when `decoder.version` has changed. Its cache
    is [layers, blocks, kv heads, 2 · 16 · head dim], ordered by the kernel.
    """

    packed: CPUDecoder | None = None
    version = -1

    @staticmethod
    def supports(decoder, block_size: int) -> bool:
        c = decoder.config
        fits = CPUDecoder.supports(c.hidden_size, c.intermediate_size, c.head_dim)
        one_rope = not c.no_rope  # its one call takes the same angles for all layers
        return decoder.embed.device.type == "cpu" and block_size == BLOCK and fits and one_rope

    def update(self) -> None:
        if self.version != self.decoder.version:
            started = time.perf_counter()
            self.packed = None  # the old copy goes before the new one is made
            self.packed, self.version = self._pack(), self.decoder.version
            log.debug(
                "weights of version %d packed in %.2f s",
                self.version,
                time.perf_counter() - started,
            )

    def allocate(self, num_blocks: int) -> None:
        c = self.decoder.config
        self.cache = on_huge_pages(c.num_layers, num_blocks, c.num_kv_heads, 2 * BLOCK * c.head_dim)

    def copy_blocks(self, copies: list[tuple[int, int]]) -> None:
        source, target = torch.tensor(copies).T
        self.held_cache[:, target] = self.held_cache[:, source]

    def logits(self, inputs: Inputs) -> Tensor:
        cos, sin = self.decoder.rope(inputs.positions)
        assert self.packed is not None, "`update` packs the weights before a rollout"
        return self.packed.logits(
            inputs.tokens,
            cos,
            sin,
            self.held_cache,
            inputs.slots,
            inputs.block_table,
            inputs.query_offsets,
            inputs.lengths,
            inputs.rows,
        )

    def _pack(self) -> CPUDecoder:
        decoder, c = self.decoder, self.decoder.config
        layers = (
            {
                "qkv": layer.qkv.merged(),
                "qkv_bias": layer.qkv.bias,
                "o": layer.o.merged(),
                "gate_up": layer.gate_up.merged(),
                "down": layer.down.merged(),
                "input_norm": layer.input_norm,
                "post_norm": layer.post_norm,
                "q_norm": layer.q_norm,
                "k_norm": layer.k_norm,
            }
            for layer in decoder.layers
        )
        sizes = (c.num_heads, c.num_kv_heads, c.head_dim, c.intermediate_size, c.rms_norm_eps)
        return CPUDecoder(
            layers, c.num_layers, decoder.embed, decoder.norm, decoder.head_weight, *sizes
        )
