"""A decoder's whole forward pass over a paged cache in one C++ call, on bf16 weights packed once."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast import _C

BLOCK = 16  # tokens of a cache block
PANEL = 64  # rows of a packed matrix are padded to a multiple of this


def pack_matrix(weight: Tensor) -> Tensor:
    """bf16 [out, in] (in even) -> the order in which the products read it, bf16 [out rounded up to 64 · in]."""
    rows, columns = weight.shape
    packed = torch.empty(-(-rows // PANEL) * PANEL * columns, dtype=torch.bfloat16)
    weight = weight.contiguous()
    _C.pack_matrix(weight.data_ptr(), rows, columns, packed.data_ptr(), torch.get_num_threads())
    return packed


class CPUDecoder:
    """Weights ready for `logits`. A token's logits do not depend, to the bit, on the other tokens of the call.

    Args:
        layers: for each layer its matrices `qkv` [(H + 2·Hk)·D, hidden], `o` [hidden, H·D], `gate_up` [2·inner, hidden]
            and `down` [hidden, inner], its `qkv_bias` or None, and its norms `input_norm`, `post_norm`, `q_norm`,
            `k_norm` (the last two or None); all bf16. Matrices are packed, one after the other, as they are read.
        embed, head: bf16 [V, hidden]; norm: bf16 [hidden], the final one.
    """

    MATRICES = ("qkv", "o", "gate_up", "down")
    FIELDS = ("qkv", "qkv_bias", "o", "gate_up", "down", "input_norm", "post_norm", "q_norm", "k_norm")

    def __init__(self, layers, embed: Tensor, norm: Tensor, head: Tensor, heads: int, kv_heads: int, head_dim: int,
                 inner: int, eps: float):  # fmt: skip
        self.vocab, hidden = head.shape
        self.kept = [[None if layer[name] is None else self._ready(name, layer[name]) for name in self.FIELDS]
                     for layer in layers]  # fmt: skip
        self.ends = (embed.contiguous(), norm.contiguous(), pack_matrix(head))
        addresses = [[0 if t is None else t.data_ptr() for t in layer] for layer in self.kept]
        ends = [t.data_ptr() for t in self.ends]
        self.weights = _C.DecoderWeights(addresses, *ends, hidden, inner, heads, kv_heads, head_dim, self.vocab, eps)

    @staticmethod
    def supports(hidden: int, inner: int, head_dim: int, dtype: torch.dtype) -> bool:
        """Whether this processor has the instructions, and the sizes are those that the kernels handle."""
        sizes = hidden % 16 == 0 and inner % 16 == 0 and head_dim in (32, 64, 128)
        return dtype == torch.bfloat16 and sizes and _C.isa() == "avx512bf16"

    def logits(self, tokens: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, slots: Tensor, block_table: Tensor,
               query_offsets: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:  # fmt: skip
        """fp32 [R, V] after the tokens `rows` int64[R]; stores keys and values on the way.

        Args:
            tokens: int64[T]; cos, sin: fp32 [T, D / 2] of their positions.
            cache: bf16 [layers, 2, blocks, 16, Hk, D], contiguous.
            slots, block_table, query_offsets, lengths: as `store_kv` and `paged_attention` have them.
        """
        out = torch.empty(len(rows), self.vocab, dtype=torch.float32)
        _C.decoder_step(
            self.weights, tokens.data_ptr(), slots.data_ptr(), cos.data_ptr(), sin.data_ptr(), block_table.data_ptr(),
            block_table.shape[1], query_offsets.data_ptr(), lengths.data_ptr(), rows.data_ptr(), len(tokens),
            len(lengths), len(rows), cache.data_ptr(), cache.shape[2], out.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return out

    def _ready(self, name: str, weight: Tensor) -> Tensor:
        return pack_matrix(weight) if name in self.MATRICES else weight.contiguous()
