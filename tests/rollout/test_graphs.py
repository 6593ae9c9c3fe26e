"""Which recorded step a decode takes, and what it is filled with; recording itself needs a card.

The recorded steps run on the CPU here: replaying computes the step of the recorded inputs anew.
"""

from __future__ import annotations

from typing import cast

import pytest
import torch

from dftfast.rollout import RolloutEngine
from dftfast.rollout.graphs import Captured, GraphedDecoder
from dftfast.rollout.paged import PagedDecoder

from .models import outputs, requests_for_fuzz, tiny_decoder


class Replay:
    """In place of a CUDA graph: the recorded step, computed at every replay."""

    def __init__(self, backend: GraphedDecoder, inputs):
        self.backend, self.inputs = backend, inputs
        self.logits = self.computed()

    def computed(self):
        return PagedDecoder.logits(self.backend, self.inputs)

    def replay(self):
        self.logits.copy_(self.computed())


class OnCPU(GraphedDecoder):
    def allocate(self, num_blocks):
        PagedDecoder.allocate(self, num_blocks)
        self.num_blocks = num_blocks

    def _capture(self, inputs):
        graph = Replay(self, inputs)
        return Captured(cast(torch.cuda.CUDAGraph, graph), inputs, graph.logits)


def test_recorded_steps_give_the_samples_of_steps_as_they_come():
    decoder = tiny_decoder("qwen3", torch.float32)
    requests = requests_for_fuzz(3, 12, decoder.config.vocab_size)
    plain = RolloutEngine(decoder, cache_tokens=2048, max_sequences=8)
    recorded = RolloutEngine(decoder, cache_tokens=2048, max_sequences=8)
    recorded.backend = OnCPU(decoder, 16, 8)
    assert outputs(recorded.generate(requests)) == outputs(plain.generate(requests))
    assert {bucket for bucket, _ in recorded.backend.captured} > {4, 8}


@pytest.mark.parametrize(
    "longest,columns",
    [(1, 32), (13, 32), (32, 32), (33, 64), (65, 128), (100, 128), (160, 256), (300, 300)],
)
def test_a_table_is_as_wide_as_the_longest_sequence_needs(longest, columns):
    """In shares of 512 keys, a power of two of them, and no wider than the cache has blocks."""
    backend = OnCPU(tiny_decoder("qwen3", torch.float32), 16, 8)
    backend.allocate(300)
    assert backend.columns(longest) == columns
