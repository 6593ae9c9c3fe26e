"""Embeddings kept on disk, so that a report made again does not embed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dftfast.model.embedder import Embedder
from dftfast.runtime.files import atomic_file

WHOLE = b"in windows:"  # how texts longer than the embedder reads are embedded
PROBE = "The quick brown fox jumps over the lazy dog."


class EmbeddingCache:
    """One safetensors file for each embedder and list of texts, named by their hash.

    The embedder counts by its name and by what it makes of a fixed sentence: other weights of the
    same name are another.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def encode(
        self, embedder: Embedder, texts: Sequence[str], progress: Callable[[int], object]
    ) -> np.ndarray:
        """What `embedder.encode(texts)` gives, float32 [n, d]."""
        kept = self.load(embedder, texts)
        if kept is None:
            kept = embedder.encode(texts, progress).numpy()
            self.save(embedder, texts, kept)
        else:
            progress(len(texts))
        return kept

    def load(self, embedder: Embedder, texts: Sequence[str]) -> np.ndarray | None:
        try:
            return load_file(self._path(embedder, texts))["embeddings"]
        except (OSError, ValueError, KeyError, SafetensorError):  # none there, or damaged
            return None

    def save(self, embedder: Embedder, texts: Sequence[str], embeddings: np.ndarray) -> None:
        with atomic_file(self._path(embedder, texts)) as temporary:
            save_file({"embeddings": embeddings}, temporary)

    def _path(self, embedder: Embedder, texts: Sequence[str]) -> Path:
        key = hashlib.sha256(
            WHOLE + embedder.name.encode() + embedder.encode([PROBE]).numpy().tobytes()
        )
        for text in texts:
            key.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return self.folder / f"{key.hexdigest()[:32]}.safetensors"
