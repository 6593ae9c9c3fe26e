"""What the names of systems say: "lora lr=0.001 data=0.25 T=0.8 top-p=1 top-k=0"."""

from __future__ import annotations

import re

PARAMETERS = {
    "temperature": "T",
    "top_p": "top-p",
    "top_k": "top-k",
}  # of a sampler, as they stand in names
OFF = {"top_p": 1.0, "top_k": 0.0}
_SETTING = re.compile(r"(?<!\S)(T|top-p|top-k|lr|data)=([0-9.e+-]+)(?!\S)")
_SAMPLER = re.compile(r"\s*(?<!\S)(T|top-p|top-k)=[0-9.]+(?!\S)")


def sampler_of(name: str) -> dict[str, float]:
    """Sampler settings in a name: {"temperature": 0.8, "top_p": 1, "top_k": 0}."""
    found = settings_of(name)
    return {field: found[key] for field, key in PARAMETERS.items() if key in found}


def settings_of(name: str) -> dict[str, float]:
    """Every setting in a name by its short key: T, top-p, top-k, lr, data."""
    found = {}
    for key, value in _SETTING.findall(name):
        try:
            found[key] = float(value)
        except ValueError:
            continue
    return found


def checkpoint_of(name: str) -> str:
    """The name without its sampler."""
    return _SAMPLER.sub("", name).strip()


def short(name: str) -> str:
    """The name without sampler settings that are off."""
    return re.sub(r" (top-p=1|top-k=0)(?![.0-9])", "", name)
