"""What the names of systems say: "lora lr=0.001 data=0.25 T=0.8 top-p=1 top-k=0"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

# of a sampler, as they stand in names
PARAMETERS = {"temperature": "T", "top_p": "top-p", "top_k": "top-k"}
OFF = {"top_p": 1.0, "top_k": 0.0}
_SETTING = re.compile(r"(?<!\S)(T|top-p|top-k|lr|data)=([0-9.e+-]+)(?!\S)")
_SAMPLER = re.compile(r"\s*(?<!\S)(T|top-p|top-k)=[0-9.]+(?!\S)")


def sampler_of(name: str) -> dict[str, float]:
    """Sampler settings in a name: {"temperature": 0.8, "top_p": 1, "top_k": 0}."""
    settings = settings_of(name)
    return {field: settings[key] for field, key in PARAMETERS.items() if key in settings}


def numbers(sampler: Mapping) -> dict[str, float]:
    """The settings that are numbers: those of another tool may be anything."""
    return {
        key: value
        for key, value in sampler.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def settings_of(name: str) -> dict[str, float]:
    """Every setting in a name by its short key: T, top-p, top-k, lr, data."""
    settings = {}
    for key, value in _SETTING.findall(name):
        try:
            settings[key] = float(value)
        except ValueError:
            continue
    return settings


def checkpoint_of(name: str) -> str:
    """The name without its sampler."""
    return _SAMPLER.sub("", name).strip()


def short(name: str) -> str:
    """The name without sampler settings that are off."""
    return re.sub(r" (top-p=1|top-k=0)(?![.0-9])", "", name)
