"""CUDA graphs for decoding: one launch a step instead of a thousand."""

from __future__ import annotations

from dataclasses import dataclass, fields

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

    Graphs are recorded at their first use, one per power of two up to `max_sequences`, and share
    one memory pool. They read the weights where they lie, so an update in place needs nothing; when
    the decoder holds other tensors (an adapter came or went), they are recorded anew.
    """

    def __init__(self, decoder, block_size: int, max_sequences: int):
        super().__init__(decoder, block_size)
        self.max_sequences = max_sequences
        # A step with a prompt in it is not replayed, so prompts come together.
        self.refill = max(max_sequences // 8, 1)
        self.captured: dict[int, Captured] = {}
        self.version = -1
        self.weights: list = []

    def allocate(self, num_blocks: int) -> None:
        super().allocate(num_blocks)
        longest = -(-self.decoder.config.max_position_embeddings // self.block_size)
        self.longest = min(longest, num_blocks)
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
        bucket = 1 << (count - 1).bit_length()
        if bucket not in self.captured:
            self.captured[bucket] = self._capture(bucket)
        step = self.captured[bucket]
        # Sequences beyond `count` store nothing; what they read is never looked at.
        step.inputs.slots.fill_(-1)
        for field in fields(Inputs):
            value = getattr(inputs, field.name)
            target = getattr(step.inputs, field.name)
            if field.name == "block_table":
                target[:count, : value.shape[1]].copy_(value)
            elif field.name not in ("query_offsets", "rows"):  # the same in every decode step
                target[:count].copy_(value)
        step.graph.replay()
        return step.logits[:count].clone()

    def _forget_moved_weights(self) -> None:
        self.version = self.decoder.version
        weights = [(tensor.data_ptr(), tensor.shape) for tensor in self.decoder.parameters()]
        weights += [module.scale for module in self.decoder.modules() if hasattr(module, "scale")]
        if weights != self.weights:
            self.captured.clear()
            self.weights = weights

    def _capture(self, bucket: int) -> Captured:
        device = self.decoder.embed.device

        def full(value: int, dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.full(shape, value, dtype=dtype, device=device)

        inputs = Inputs(
            tokens=full(0, torch.int64, bucket),
            positions=full(0, torch.int64, bucket),
            slots=full(-1, torch.int64, bucket),
            block_table=full(0, torch.int32, bucket, self.longest),
            query_offsets=torch.arange(bucket + 1, dtype=torch.int32, device=device),
            lengths=full(1, torch.int32, bucket),
            rows=torch.arange(bucket, device=device),
        )
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
