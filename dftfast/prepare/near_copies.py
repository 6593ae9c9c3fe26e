"""Exact and near duplicates, found on disk: MinHash (Broder 1997) by datasketch, bands, groups.

Two texts are grouped when a band of their signatures is the same. With 32 bands of 4 hashes over
5-word runs, 87% of the pairs that share half of their runs are, 99% of those that share 60%, and 5%
of those that share 20%. The first text of a group in the order of the corpus is kept. Bands are
appended to bucket files, one set a worker; memory is that of one bucket and of the duplicates.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from dftfast.prepare.piece import Piece
from dftfast.runtime.words import words

_RUN = 5  # words
_BANDS, _ROWS = 32, 4
_BUCKETS = 16
_RECORD = np.dtype([("band", "<u8"), ("key", "<u8")])


class Signatures:
    """Writes the signatures of the pieces that pass.

    Args:
        worker: writes files of its own.
    """

    def __init__(self, folder: Path, worker: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [open(folder / f"{i:02d}.{worker:05d}", "wb") for i in range(_BUCKETS)]

    def add(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            for band in (*bands(piece.cleaned), _hash(b"id", piece.id.encode())):
                self._files[band % _BUCKETS].write(struct.pack("<QQ", band, piece.key))
            yield piece
        for file in self._files:
            file.close()


def bands(text: str) -> list[int]:
    """64-bit hashes: of the whole text without case and layout, and of each band of its signature.

    Texts that share any are duplicates.
    """
    tokens = words(text.lower()) or [text]
    whole = _hash(b"whole", " ".join(tokens).encode())
    runs = [" ".join(tokens[i : i + _RUN]) for i in range(max(1, len(tokens) - _RUN + 1))]
    signature = _signature(runs).astype("<u8").reshape(_BANDS, _ROWS)
    return [whole, *(_hash(bytes([i]), row.tobytes()) for i, row in enumerate(signature))]


def _signature(runs: list[str]) -> np.ndarray:
    sketch = _empty().copy()
    sketch.update_batch([run.encode() for run in runs])
    return sketch.digest()


@lru_cache(maxsize=1)
def _empty():
    import datasketch

    return datasketch.MinHash(num_perm=_BANDS * _ROWS, seed=1)


def _hash(*parts: bytes) -> int:
    digest = hashlib.blake2b(b"".join(parts), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def find_duplicates(folder: Path) -> dict[int, int]:
    """Key of each duplicate -> key of the text that is kept for it, by the files of all workers."""
    parent: dict[int, int] = {}

    def root(key: int) -> int:
        while (above := parent.get(key, key)) != key:
            parent[key] = parent.get(above, above)
            key = above
        return key

    for bucket in range(_BUCKETS):
        files = sorted(folder.glob(f"{bucket:02d}.*"))
        records = np.concatenate([np.empty(0, _RECORD), *(np.fromfile(f, _RECORD) for f in files)])
        records.sort(order=("band", "key"))
        same = np.flatnonzero(records["band"][1:] == records["band"][:-1])
        for i in same:
            one, other = root(int(records["key"][i])), root(int(records["key"][i + 1]))
            first, second = min(one, other), max(one, other)
            parent[second] = first
    return {key: root(key) for key in sorted(parent) if root(key) != key}
