"""Distribution fine-tuning: train a language model until its outputs are like its corpus.

`train`, `generate` and `evaluate` are the commands' modules; calling one calls its function.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dftfast.runtime.version import __version__

__all__ = ["Config", "__version__", "evaluate", "generate", "load_config", "train"]

if TYPE_CHECKING:
    from dftfast.config import Config, load_config
    from dftfast.evaluate import evaluate
    from dftfast.generate import generate
    from dftfast.train import train


def __getattr__(name: str) -> object:
    """Import what is asked for only then: `import dftfast` loads neither torch nor pydantic."""
    if name in ("evaluate", "generate", "train"):
        return import_module(f"dftfast.{name}")
    if name in ("Config", "load_config"):
        return getattr(import_module("dftfast.config"), name)
    raise AttributeError(f"module 'dftfast' has no attribute {name!r}")
