"""The policy: a decoder, its weights and adapters, its tokenizer, and the embedder of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dftfast.runtime.lazy import imported_late

__all__ = [
    "Adapter",
    "Decoder",
    "Embedder",
    "ModelConfig",
    "Policy",
    "Tokenizer",
    "load_decoder",
    "resolve_model",
]

if TYPE_CHECKING:
    from dftfast.model.adapter import Adapter
    from dftfast.model.config import ModelConfig
    from dftfast.model.decoder import Decoder
    from dftfast.model.embedder import Embedder
    from dftfast.model.policy import Policy
    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer
    from dftfast.model.weights import load_decoder

__getattr__ = imported_late(
    __name__,
    {
        "Adapter": "adapter",
        "Decoder": "decoder",
        "Embedder": "embedder",
        "ModelConfig": "config",
        "Policy": "policy",
        "Tokenizer": "tokenizer",
        "load_decoder": "weights",
        "resolve_model": "pretrained",
    },
)
