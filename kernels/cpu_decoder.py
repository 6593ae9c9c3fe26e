"""A decoder's forward pass over a paged cache in one C++ call, on bf16 weights packed once."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import address
from dftfast.kernels.compiled import cpu_kernels

BLOCK = 16  # tokens of a cache block


def packed_size(rows: int, columns: int) -> int:
    """Numbers in a packed matrix, whose rows are padded to a multiple of the kernels' panel."""
    panel = cpu_kernels.packed_panel()
    return -(-rows // panel) * panel * columns


def pack_matrix(weight: Tensor, target: Tensor | None = None) -> Tensor:
    """bf16 [out, in], in even, in the order of the products: bf16 [packed_size(out, in)]."""
    target = on_huge_pages(packed_size(*weight.shape)) if target is None else target
    weight = weight.contiguous()
    cpu_kernels.pack_matrix(
        weight.data_ptr(), *weight.shape, target.data_ptr(), torch.get_num_threads()
    )
    return target


def on_huge_pages(*shape: int) -> Tensor:
    """Empty bf16 tensor that the system may map with pages of 2 MiB.

    Large weights are then streamed a third faster.
    """
    tensor = torch.empty(*shape, dtype=torch.bfloat16)
    cpu_kernels.advise_huge_pages(tensor.data_ptr(), tensor.nbytes)
    return tensor


def in_bf16(weight: Tensor) -> Tensor:
    return weight.bfloat16().contiguous()


class CPUDecoder:
    """Weights ready for `logits`.

    A token's logits do not depend, to the bit, on the other tokens of the call.

    Args:
        layers: for each layer its matrices `qkv` [(H + 2·Hk)·D, hidden], `o` [hidden, H·D],
            `gate_up` [2·inner, hidden] and `down` [hidden, inner], its `qkv_bias` or None, and its
            norms `input_norm`, `post_norm`, `q_norm`, `k_norm` (the last two or None). All is kept
            in bf16; matrices are packed, one after the other, as they are read.
        num_layers: how many that are.
        embed, head: [V, hidden]; norm: [hidden], the final one.
    """

    MATRICES = ("qkv", "o", "gate_up", "down")
    FIELDS = (
        "qkv",
        "qkv_bias",
        "o",
        "gate_up",
        "down",
        "input_norm",
        "post_norm",
        "q_norm",
        "k_norm",
    )

    def __init__(
        self,
        layers,
        num_layers: int,
        embed: Tensor,
        norm: Tensor,
        head: Tensor,
        heads: int,
        kv_heads: int,
        head_dim: int,
        inner: int,
        eps: float,
    ):
        self.vocab, hidden = head.shape
        self._free = on_huge_pages(
            self.packed_numel(num_layers, self.vocab, hidden, inner, heads, kv_heads, head_dim)
        )
        self.kept = [
            [
                None if layer[name] is None else self._ready(name, layer[name])
                for name in self.FIELDS
            ]
            for layer in layers
        ]
        self.ends = (in_bf16(embed), in_bf16(norm), self._pack(head))
        addresses = [dict(zip(self.FIELDS, map(address, layer))) for layer in self.kept]
        ends = [t.data_ptr() for t in self.ends]
        self.decoder = cpu_kernels.Decoder(
            layers=addresses,
            **dict(zip(("embed", "norm", "head"), ends)),
            hidden=hidden,
            inner=inner,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocab=self.vocab,
            eps=eps,
        )

    @staticmethod
    def packed_numel(
        layers: int, vocab: int, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int
    ) -> int:
        """Numbers in the packed copies of all matrices."""
        qkv, o = (
            packed_size((heads + 2 * kv_heads) * head_dim, hidden),
            packed_size(hidden, heads * head_dim),
        )
        mlp = packed_size(2 * inner, hidden) + packed_size(hidden, inner)
        return layers * (qkv + o + mlp) + packed_size(vocab, hidden)

    @staticmethod
    def supports(hidden: int, inner: int, head_dim: int) -> bool:
        """Whether the sizes are those that the kernels handle."""
        return hidden % 16 == 0 and inner % 16 == 0 and head_dim % 32 == 0 and head_dim <= 256

    def logits(
        self,
        tokens: Tensor,
        cos: Tensor,
        sin: Tensor,
        cache: Tensor,
        slots: Tensor,
        block_table: Tensor,
        query_offsets: Tensor,
        lengths: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """fp32 [R, V] after the tokens `rows` int64[R]; stores keys and values on the way.

        Args:
            tokens: int64[T]; cos, sin: fp32 [T, D / 2] of their positions.
            cache: bf16 [layers, blocks, Hk, 2, 16 · D]; the order of what a kv head has in a block
                is the kernel's own (csrc/paged_attention_kernel.h).
            slots, block_table, query_offsets, lengths: as `store_kv` and `paged_attention` have
            them.
        """
        out = torch.empty(len(rows), self.vocab, dtype=torch.float32)
        self.decoder.step(
            tokens=tokens.data_ptr(),
            slots=slots.data_ptr(),
            cos=cos.data_ptr(),
            sin=sin.data_ptr(),
            table=block_table.data_ptr(),
            table_stride=block_table.shape[1],
            query_offsets=query_offsets.data_ptr(),
            lengths=lengths.data_ptr(),
            rows=rows.data_ptr(),
            num_tokens=len(tokens),
            num_sequences=len(lengths),
            num_rows=len(rows),
            cache=cache.data_ptr(),
            num_blocks=cache.shape[1],
            logits=out.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return out

    def _ready(self, name: str, weight: Tensor) -> Tensor:
        return self._pack(weight) if name in self.MATRICES else in_bf16(weight)

    def _pack(self, weight: Tensor) -> Tensor:
        size = packed_size(*weight.shape)
        target, self._free = self._free[:size], self._free[size:]
        return pack_matrix(weight.bfloat16(), target)
