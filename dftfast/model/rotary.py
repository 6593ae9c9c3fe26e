"""Rotary positions: the frequencies of a model, stretched as its config asks.

Su et al. 2021, https://arxiv.org/abs/2104.09864.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dftfast.model.config import ModelConfig


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Inverse frequencies, fp32 [head_dim / 2]."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    if config.rope_scaling is None:
        return frequencies
    stretch = {"llama3": _llama3, "yarn": _yarn}[config.rope_scaling["rope_type"]]
    return stretch(frequencies, config)


def rope_magnitude(config: ModelConfig) -> float:
    """What yarn multiplies cosines and sines by, so that attention stays as sharp as it was."""
    s = config.rope_scaling
    if s is None or s["rope_type"] != "yarn":
        return 1.0
    if s["attention_factor"]:
        return s["attention_factor"]
    grown = lambda scale: 0.1 * scale * math.log(s["factor"]) + 1 if s["factor"] > 1 else 1.0
    if s["mscale"] and s["mscale_all_dim"]:
        return grown(s["mscale"]) / grown(s["mscale_all_dim"])
    return grown(1.0)


def _llama3(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """Llama 3.1's: long wavelengths are stretched, those between `original / high` and
    `original / low` in part."""
    s = config.rope_scaling or {}
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    wavelengths = 2 * math.pi / frequencies
    whole = s["original_max_position_embeddings"] / wavelengths
    smooth = ((whole - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * frequencies / s["factor"] + smooth * frequencies


def _yarn(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.2.

    Dimensions that turn more than `beta_fast` times in the original context stay, those that turn
    less than `beta_slow` times are stretched, and in between a ramp leads from one to the other.
    """
    s, d = config.rope_scaling or {}, config.head_dim
    turns = lambda number: math.log(s["original_max_position_embeddings"] / (number * 2 * math.pi))
    dimension = lambda number: d * turns(number) / (2 * math.log(config.rope_theta))
    low, high = dimension(s["beta_fast"]), dimension(s["beta_slow"])
    if s["truncate"]:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    width = high - low or 0.001
    kept = 1 - ((torch.arange(d // 2, dtype=torch.float32) - low) / width).clamp(0, 1)
    return frequencies / s["factor"] * (1 - kept) + frequencies * kept
