"""Lines that stand in many documents of a source: its frame, not its texts.

Documents that are the same count once: copies are left out later, and all lines of a document that
was copied often would go with them.
Counts are exact and on disk: hashes of lines are appended to bucket files, so that workers may
write side by side, and a bucket is counted at a time. Memory is that of one bucket.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dftfast.prepare.piece import Piece

MANY = 5  # documents of a source; a line that stands in as many is its frame ...
SHARE = 0.005  # ... where they are this share of its documents, too
FEWEST_LETTERS = 8  # "Thanks," is no frame
LONGEST = 300  # characters; longer lines are whole paragraphs, which duplicates are found by
_BUCKETS = 64
_RECORD = np.dtype([("line", "<u8"), ("source", "<u8"), ("document", "<u8")])


class Repeated:
    """The lines found: sorted uint64 hashes of source and line."""

    def __init__(self, hashes: np.ndarray):
        self.hashes = hashes

    @classmethod
    def none(cls) -> Repeated:
        return cls(np.empty(0, "<u8"))

    def holds(self, source: str, line: str) -> bool:
        if not len(self.hashes) or not _counts(line):
            return False
        value = _hash(source, line)
        place = int(np.searchsorted(self.hashes, value))
        return place < len(self.hashes) and self.hashes[place] == value


class LineCounts:
    """Counts in how many different pieces of its source each line stands.

    Args:
        folder: where the buckets are.
        worker: writes files of its own.
    """

    def __init__(self, folder: Path, worker: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [open(folder / f"{i:02d}.{worker:05d}", "wb") for i in range(_BUCKETS)]

    def add(self, piece: Piece) -> None:
        lines = {line.strip() for line in piece.text.split("\n")}
        whole = _hash(piece.source, "")  # counts the documents
        document = _hash(piece.text)
        for value in (whole, *(_hash(piece.source, line) for line in lines if _counts(line))):
            self._files[value % _BUCKETS].write(struct.pack("<QQQ", value, whole, document))

    def close(self) -> None:
        for file in self._files:
            file.close()


def find_repeated(folder: Path) -> Repeated:
    """The lines that are frequent enough, by the files of all workers."""
    documents: dict[int, int] = {}
    frequent: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for bucket in range(_BUCKETS):
        files = sorted(folder.glob(f"{bucket:02d}.*"))
        records = np.concatenate([np.empty(0, _RECORD), *(np.fromfile(f, _RECORD) for f in files)])
        records = _once_a_document(records)
        values, first, counts = np.unique(records["line"], return_index=True, return_counts=True)
        sources = records["source"][first]
        for i in np.flatnonzero(values == sources):
            documents[int(values[i])] = int(counts[i])
        many = counts >= MANY
        frequent.append((values[many], sources[many], counts[many]))
    kept = [_enough(*part, documents) for part in frequent]
    return Repeated(np.sort(np.concatenate(kept)))


def _once_a_document(records: np.ndarray) -> np.ndarray:
    records = records[np.lexsort((records["document"], records["line"]))]
    keys = records[["line", "document"]]
    return records[np.append(True, keys[1:] != keys[:-1])[: len(records)]]


def _enough(values, sources, counts, documents: dict[int, int]) -> np.ndarray:
    totals = np.array([documents[int(source)] for source in sources], dtype=np.int64)
    return values[(counts >= SHARE * totals) & (values != sources)]


def _counts(line: str) -> bool:
    return len(line) <= LONGEST and sum(map(str.isalpha, line)) >= FEWEST_LETTERS


def _hash(*parts: str) -> int:
    raw = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def count(pieces: Iterable[Piece], counts: LineCounts) -> Iterable[Piece]:
    """The pieces as they are, counted on the way."""
    for piece in pieces:
        counts.add(piece)
        yield piece
    counts.close()
