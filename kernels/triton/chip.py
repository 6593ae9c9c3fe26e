"""What the launchers ask about the card, and the blocks that were timed on it.

Tensors off the card (the interpreter, ahead-of-time compilation) count as sm_80.

`tiles.json` beside this file holds what `benchmarks/device.sh OUT tune` found:

    {"90": {"machine": {"device": ..., "torch": ..., "triton": ...},
            "tiles": {"sample_tokens": {"16 bits": {"BLOCK": 8192, "num_warps": 8}}}}}

The keys are the card's compute capability, the op and a class of shapes. A chip, op or class that
is not there was not timed: it gets the launcher's defaults, which are known to compile without
spilled registers and no more.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch

TILES = Path(__file__).with_name("tiles.json")


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


@functools.lru_cache
def timed_tiles() -> dict:
    """What tiles.json holds."""
    return json.loads(TILES.read_text(encoding="utf-8"))


def tile(op: str, shapes: str, device: torch.device, default: dict[str, int]) -> dict[str, int]:
    """Block sizes and warps of a launch: those timed on this chip, else `default`."""
    timed = timed_tiles().get(str(capability(device)), {}).get("tiles", {})
    return {**default, **timed.get(op, {}).get(shapes, {})}


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def power_of_2(n: int) -> int:
    """Smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()
