"""Embeddings kept on disk, so that a report made again does not embed again."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dftfast.files import atomic_file

PROBE = "The quick brown fox jumps over the lazy dog."


class EmbeddingCache:
    """One safetensors file for each embedder and list of texts, named by their hash.

    The embedder counts by its name and by what it makes of a fixed sentence: other weights of the same name are another.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def encode(self, embedder, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        """What `embedder.encode(texts)` gives (`dftfast.model.embedder.Embedder`), float32 [n, d]."""
        key = hashlib.sha256(embedder.name.encode() + embedder.encode([PROBE]).numpy().tobytes())
        for text in texts:
            key.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        path = self.folder / f"{key.hexdigest()[:32]}.safetensors"
        try:
            embeddings = load_file(path)["embeddings"]
        except (OSError, ValueError, KeyError, SafetensorError):  # none there, or damaged
            embeddings = embedder.encode(texts, progress).numpy()
            with atomic_file(path) as temporary:
                save_file({"embeddings": embeddings}, temporary)
            return embeddings
        if progress is not None:
            progress(len(texts))
        return embeddings
