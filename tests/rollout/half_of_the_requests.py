"""Prints the outputs of every other request, as one of two processes: dtype, 0 or 1."""

from __future__ import annotations

import sys

import torch
from models import outputs, requests_for_fuzz, tiny_decoder

from dftfast.rollout import RolloutEngine

if __name__ == "__main__":
    dtype, part = getattr(torch, sys.argv[1]), int(sys.argv[2])
    decoder = tiny_decoder("qwen3", dtype)
    requests = requests_for_fuzz(0, 24, decoder.config.vocab_size)
    print(outputs(RolloutEngine(decoder, cache_tokens=512).generate(requests[part::2])))
