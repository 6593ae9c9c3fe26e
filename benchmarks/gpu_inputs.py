"""Sizes and random inputs of the kernels' cases on a card."""

from __future__ import annotations

import torch

BF16 = torch.bfloat16
# hidden size, intermediate size, query heads, key heads, head size
LAYERS = {
    "Qwen3-0.6B": (1024, 3072, 16, 8, 128),
    "Qwen3-4B": (2560, 9728, 32, 8, 128),
    "Qwen3-14B": (5120, 17408, 40, 8, 128),
}
VOCABULARY = 151936


def randn(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def over_layers(cases):
    """The cases of every model: `cases(name, sizes)` yields those of one."""

    def every():
        for model, sizes in LAYERS.items():
            yield from cases(model, sizes)

    return every
