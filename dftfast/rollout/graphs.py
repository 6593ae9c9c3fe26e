"""CUDA graphs for decoding: one launch a step instead of a thousand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dftfast.rollout.paged import Inputs, PagedDecoder


@dataclass
class Captured:
    """A recorded step for a fixed number of sequences: fill `inputs`, replay, read `logits`."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    logits: Tensor


class GraphedDecoder(PagedDecoder):
    """Back end for GPUs.

    Steps in which every sequence computes one token are replayed; others run as they are.

    Graphs are recorded at their first use and share one memory pool: one for each power of two of
    sequences, up to `max_sequences`, and of shares of keys that the longest of them needs
    (`columns`), so that short sequences do not pay for the length of the context. They read the
    weights where they lie, so an update in place needs nothing; when the decoder holds other
    tensors (an adapter came or went), they are recorded anew.
    """

    def __init__(self, decoder, block_size: int, max_sequences: int):
        super().__init__(decoder, block_size)
        self.max_sequences = max_sequences
        # A step with a prompt in it is not replayed, so prompts come together.
        self.refill = max(max_sequences // 8, 1)
        self.captured: dict[tuple[int, int], Captured] = {}
        self.version = -1
        self.weights: list = []

    def allocate(self, num_blocks: int) -> None:
        super().allocate(num_blocks)
        self.num_blocks = num_blocks
        self.pool = torch.cuda.graph_pool_handle()

    def release(self) -> None:
        self.captured.clear()
        super().release()

    def logits(self, inputs: Inputs) -> Tensor:
        count = len(inputs.lengths)
        if len(inputs.tokens) > count:
            return super().logits(inputs)
        if self.version != self.decoder.version:
            self._forget_moved_weights()
        columns = self.columns(inputs.block_table.shape[1])
        bucket = 1 << (count - 1).bit_length(), columns
        if bucket not in self.captured:
            self.captured[bucket] = self._capture(self._recorded_inputs(*bucket))
        step = self.captured[bucket]
        # Sequences beyond `count` store nothing, and what comes of their one key is not looked at.
        step.inputs.slots.fill_(-1)
        step.inputs.lengths.fill_(1)
        table = inputs.block_table
        step.inputs.block_table[:count, : table.shape[1]].copy_(table)
        for name in ("tokens", "positions", "slots", "lengths"):  # the others are always the same
            getattr(step.inputs, name)[:count].copy_(getattr(inputs, name))
        step.graph.replay()
        return step.logits[:count].clone()

    def columns(self, longest: int) -> int:
        """Width of the recorded block table for sequences of up to `longest` blocks.

        The kernel launches a program for every `SHARE` keys that the table has room for.
        """
        from dftfast.kernels.triton.paged_attention import SHARE

        shares = -(-longest * self.block_size // SHARE)
        return min((1 << (shares - 1).bit_length()) * SHARE // self.block_size, self.num_blocks)

    def _forget_moved_weights(self) -> None:
        self.version = self.decoder.version
        weights = [(tensor.data_ptr(), tensor.shape) for tensor in self.decoder.parameters()]
        weights += [module.scale for module in self.decoder.modules() if hasattr(module, "scale")]
        if weights != self.weights:
            self.captured.clear()
            self.weights = weights

    def _recorded_inputs(self, bucket: int, columns: int) -> Inputs:
        device = self.decoder.embed.device

        def full(value: int, dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.full(shape, value, dtype=dtype, device=device)

        return Inputs(
            tokens=full(0, torch.int64, bucket),
            positions=full(0, torch.int64, bucket),
            slots=full(-1, torch.int64, bucket),
            block_table=full(0, torch.int32, bucket, columns),
            query_offsets=torch.arange(bucket + 1, dtype=torch.int32, device=device),
            lengths=full(1, torch.int32, bucket),
            rows=torch.arange(bucket, device=device),
        )

    def _capture(self, inputs: Inputs) -> Captured:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Compiles kernels and makes libraries choose theirs, outside the recording.
            super().logits(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            logits = super().logits(inputs)
        return Captured(graph, inputs, logits)
