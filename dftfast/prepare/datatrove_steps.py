"""The steps as blocks of datatrove pipelines, for corpora beyond one machine.

datatrove takes any callable of (documents, rank, number of tasks) for a block, and its executors
run them here, on Slurm or on Ray. What the tasks share lies in one folder that all of them reach; a
task that is run again writes its own files anew. A block may stand beside datatrove's own ones:
between blocks a piece is a datatrove Document, with what else is known of it in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dftfast.prepare.clean import clean
from dftfast.prepare.flow import load
from dftfast.prepare.lines import LineRules
from dftfast.prepare.near_copies import Signatures, find_duplicates
from dftfast.prepare.piece import Piece
from dftfast.prepare.privacy import Mask
from dftfast.prepare.repeated_lines import LineCounts, Repeated, count, find_repeated
from dftfast.prepare.rows import to_rows
from dftfast.prepare.settings import Settings
from dftfast.prepare.sources import find_files, read_pieces
from dftfast.prepare.tally import Tally

if TYPE_CHECKING:
    from datatrove.data import Document

Documents = Iterable["Document"]
Block = Callable[[Any, int, int], Any]


@dataclass(frozen=True)
class Stage:
    """A pipeline that runs when the one before has ended.

    Attributes:
        tasks: how many; what finds repeated lines and duplicates is one.
    """

    name: str
    pipeline: list[Block]
    tasks: int


def stages(sources: list[str], folder: Path, settings: Settings, tasks: int) -> list[Stage]:
    """The five pipelines that make `folder`/rows/*.jsonl of the sources.

    Beside them are skipped/*.jsonl and removed/*.jsonl, a file a task.
    """
    read = [ReadPieces(tuple(sources), settings, folder), CountLines(folder)]
    cleaned = [LoadPieces(folder / "read"), CleanByRules(folder, settings), SignPieces(folder)]
    rows = [LoadPieces(folder / "cleaned"), DropDuplicates(folder), WriteRows(folder, settings)]
    return [
        Stage("read", [*read, SavePieces(folder / "read")], tasks),
        Stage("find-repeated-lines", [FindRepeatedLines(folder)], 1),
        Stage("clean", [*cleaned, SavePieces(folder / "cleaned")], tasks),
        Stage("find-duplicates", [FindDuplicates(folder)], 1),
        Stage("write", rows, tasks),
    ]


@dataclass(frozen=True)
class ReadPieces:
    """Reads every `world_size`-th file."""

    sources: tuple[str, ...]
    settings: Settings
    folder: Path

    def __call__(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        files = find_files(self.sources)[rank::world_size]
        with _writer(self.folder / "skipped", rank) as write:
            skipped = lambda origin, reason: write({"source": origin, "reason": reason})
            yield from map(_document, read_pieces(files, self.settings, skipped))


@dataclass(frozen=True)
class CountLines:
    folder: Path

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        yield from map(_document, count(map(_piece, data), LineCounts(self.folder / "lines", rank)))


@dataclass(frozen=True)
class FindRepeatedLines:
    folder: Path

    def __call__(self, data: None = None, rank: int = 0, world_size: int = 1) -> None:
        np.save(self.folder / "repeated.npy", find_repeated(self.folder / "lines").hashes)


@dataclass(frozen=True)
class CleanByRules:
    folder: Path
    settings: Settings

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        rules = LineRules(self.settings, Repeated(np.load(self.folder / "repeated.npy")))
        tally = Tally()
        with _writer(self.folder / "removed", rank) as write:
            removed = lambda *told: write(tally.removed(*told))
            yield from map(_document, clean(map(_piece, data), rules, self.settings, removed))


@dataclass(frozen=True)
class SignPieces:
    folder: Path

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        signatures = Signatures(self.folder / "bands", rank)
        yield from map(_document, signatures.add(map(_piece, data)))


@dataclass(frozen=True)
class FindDuplicates:
    folder: Path

    def __call__(self, data: None = None, rank: int = 0, world_size: int = 1) -> None:
        keys = list(find_duplicates(self.folder / "bands"))
        np.save(self.folder / "duplicates.npy", np.array(keys, dtype="<u8"))


@dataclass(frozen=True)
class DropDuplicates:
    folder: Path

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        keys = set(np.load(self.folder / "duplicates.npy").tolist())
        yield from (document for document in data if _piece(document).key not in keys)


@dataclass(frozen=True)
class WriteRows:
    """The end of the last pipeline: rows with extractive briefs."""

    folder: Path
    settings: Settings

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> None:
        mask = Mask(self.settings.region) if self.settings.mask else None
        with _writer(self.folder / "rows", rank) as write:
            for row in to_rows(map(_piece, data), mask):
                write(row)


@dataclass(frozen=True)
class SavePieces:
    """The end of a pipeline whose pieces another one loads."""

    folder: Path

    def __call__(self, data: Documents, rank: int = 0, world_size: int = 1) -> None:
        with _writer(self.folder, rank) as write:
            for document in data:
                write(_piece(document).to_json())


@dataclass(frozen=True)
class LoadPieces:
    """The beginning of a pipeline: what the task of the same rank has saved."""

    folder: Path

    def __call__(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        yield from map(_document, load(_path(self.folder, rank)))


class _writer:
    """Lines of JSON to the file of a task."""

    def __init__(self, folder: Path, rank: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(_path(folder, rank), "w", encoding="utf-8")

    def __enter__(self) -> Callable[[dict], object]:
        return lambda row: self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __exit__(self, *failure: object) -> None:
        self._file.close()


def _path(folder: Path, rank: int) -> Path:
    return folder / f"{rank:05d}.jsonl"


def _document(piece: Piece) -> Document:
    from datatrove.data import Document

    return Document(text=piece.cleaned, id=piece.id, metadata={"piece": piece})


def _piece(document: Document) -> Piece:
    """The piece of a document; a text that another block has changed counts as read so."""
    piece = document.metadata["piece"]
    changed = document.text != piece.cleaned
    return replace(piece, text=document.text, lines=None) if changed else piece
