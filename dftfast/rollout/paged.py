"""The decoder over a paged cache: from a step's tokens to the logits of the rows that sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dftfast.kernels import causal_attention, paged_attention, store_kv
from dftfast.model.decoder import Decoder
from dftfast.rollout.scheduler import Step


@dataclass
class Fresh:
    """The sequences of a step that have nothing in the cache yet: its last ones.

    Attributes:
        first: where their tokens begin.
        offsets: int32[P + 1], first token of each, counted from `first`.
        longest: tokens of the longest.
    """

    first: int
    offsets: Tensor
    longest: int


@dataclass
class Inputs:
    """One forward pass over S sequences with T tokens, R of which are followed by a sampled token.

    Attributes:
        tokens, positions: int64[T], sequence after sequence.
        slots: int64[T], where in the cache each token's key and value go: block · block_size +
            offset.
        block_table: int32[S, longest], blocks of each sequence, padded with 0.
        query_offsets: int32[S + 1], first token of each sequence.
        lengths: int32[S], tokens in the cache after the step.
        rows: int64[R], tokens whose logits are wanted.
        fresh: the sequences without a cached prefix, where the step holds several tokens of some.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    block_table: Tensor
    query_offsets: Tensor
    lengths: Tensor
    rows: Tensor
    fresh: Fresh | None = None

    @classmethod
    def of(cls, step: Step, block_size: int, device: torch.device) -> Inputs:
        sequences = [sequence for sequence, _ in step.work]
        counts = torch.tensor([count for _, count in step.work])
        starts = torch.tensor([sequence.computed for sequence in sequences])
        tokens = [t for s, count in step.work for t in s.tokens[s.computed : s.computed + count]]
        longest = max(len(sequence.blocks) for sequence in sequences)
        rows = (sequence.blocks.tobytes().ljust(4 * longest, b"\0") for sequence in sequences)
        table = torch.frombuffer(bytearray().join(rows), dtype=torch.int32).view(
            len(sequences), longest
        )

        offsets, lengths = F.pad(counts.cumsum(0), (1, 0)), starts + counts
        owner = torch.arange(len(sequences)).repeat_interleave(counts)
        positions = torch.arange(len(tokens)) + (starts - offsets[:-1])[owner]
        whole = lengths == torch.tensor([len(sequence.tokens) for sequence in sequences])
        fields = {
            "tokens": torch.tensor(tokens),
            "positions": positions,
            "slots": table[owner, positions // block_size].long() * block_size
            + positions % block_size,
            "block_table": table,
            "query_offsets": offsets.int(),
            "lengths": lengths.int(),
            "rows": offsets[1:][whole] - 1,
        }
        cached = int((starts > 0).sum())
        first = int(offsets[cached])
        fields["fresh"] = (offsets[cached:] - first).int()
        moved = {name: value.to(device, non_blocking=True) for name, value in fields.items()}
        fresh = Fresh(first, moved.pop("fresh"), max(counts[cached:].tolist(), default=0))
        return cls(**moved, fresh=fresh if fresh.longest > 1 else None)


class PagedDecoder:
    """Back end for any device and dtype: the decoder as it stands, attending to the cache.

    A back end has a `cache`, a `refill`, `update`, `allocate`, `release`, `copy_blocks` and
    `logits`; `RolloutEngine` asks for nothing else.
    """

    refill = 1  # of the scheduler

    def __init__(self, decoder: Decoder, block_size: int):
        self.decoder = decoder
        self.block_size = block_size
        # [layers, 2 (keys, values), blocks, block_size, kv heads, head dim]
        self.cache: Tensor | None = None

    def update(self) -> None:
        """Follow `decoder.version` before a rollout, in all that is derived from the weights."""

    def allocate(self, num_blocks: int) -> None:
        config, weight = self.decoder.config, self.decoder.embed
        block = (self.block_size, config.num_kv_heads, config.head_dim)
        shape = (config.num_layers, 2, num_blocks, *block)
        self.cache = torch.empty(shape, dtype=weight.dtype, device=weight.device)

    def release(self) -> None:
        self.cache = None

    @property
    def held_cache(self) -> Tensor:
        """The cache, between `allocate` and `release`."""
        assert self.cache is not None, "the cache is not allocated"
        return self.cache

    def copy_blocks(self, copies: list[tuple[int, int]]) -> None:
        """Copy blocks `(from, to)` in all layers, as if all were read before any is written."""
        source, target = torch.tensor(copies, device=self.held_cache.device).T
        self.held_cache[:, :, target] = self.held_cache[:, :, source]

    def logits(self, inputs: Inputs) -> Tensor:
        """[R, V] in the decoder's dtype; the step's keys and values are stored on the way."""
        scale = self.decoder.config.head_dim**-0.5
        fresh, count = inputs.fresh, len(inputs.lengths)
        if fresh is not None:
            count -= len(fresh.offsets) - 1
        table, lengths = inputs.block_table[:count], inputs.lengths[:count]
        query_offsets = inputs.query_offsets[: count + 1]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.held_cache[layer]
            store_kv(k, v, keys, values, inputs.slots)
            if fresh is None:
                return paged_attention(q, keys, values, table, query_offsets, lengths, scale)
            # What has nothing in the cache yet finds its keys and values where they were computed.
            old, new = slice(fresh.first), slice(fresh.first, None)
            own = causal_attention(q[new], k[new], v[new], fresh.offsets, fresh.longest)
            if not count:
                return own
            cached = paged_attention(q[old], keys, values, table, query_offsets, lengths, scale)
            return torch.cat([cached, own])

        hidden = self.decoder(inputs.tokens, inputs.positions, attend)
        return F.linear(hidden[inputs.rows], self.decoder.head_weight)
