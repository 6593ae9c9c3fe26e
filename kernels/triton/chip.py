"""What the launchers ask about the card.

Tensors off the card (the interpreter, ahead-of-time compilation) count as sm_80.
"""

from __future__ import annotations

import functools

import torch


@functools.lru_cache
def capability(device: torch.device) -> int:
    """Compute capability as one number: 80, 86, 89, 90, ..."""
    if device.type != "cuda":
        return 80
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


@functools.lru_cache
def processors(device: torch.device) -> int:
    """Streaming multiprocessors of the card."""
    if device.type != "cuda":
        return 8
    return torch.cuda.get_device_properties(device).multi_processor_count


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def power_of_2(n: int) -> int:
    """Smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()
