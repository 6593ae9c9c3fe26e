"""Which tokenizer or embedder it is, whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dftfast.model.fixed_embedders import CHARACTER_NGRAMS
from dftfast.model.pretrained import resolve_embedder
from dftfast.runtime.errors import UserError


def tokenizer_hash(folder: Path) -> str:
    """SHA-256 of what text is made tokens with.

    Args:
        folder: of the model (`resolve_model`).
    """
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    raise UserError(f"{folder}: no tokenizer.json in it")


def embedder_hash(name: str | None) -> str:
    """SHA-256 of the weights of an embedder, or the name of one that has none."""
    if name == CHARACTER_NGRAMS:
        return CHARACTER_NGRAMS
    weights = sorted(resolve_embedder(name).rglob("*.safetensors"))
    if not weights:
        raise UserError(f"embedder {name}: no safetensors file in it")
    found = hashlib.sha256()
    for path in weights:
        found.update(path.read_bytes())
    return found.hexdigest()
