"""The arguments of the command to pieces, in an order that depends on nothing but the files."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dftfast.prepare.formats import READERS, Raw, read_documents
from dftfast.prepare.piece import Piece, Skip, lines_of
from dftfast.prepare.settings import Settings
from dftfast.prepare.split_long import split_long
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)
HUB = "hub:"
Skipped = Callable[[str, str], object]  # told the origin and why


class SourceFile(NamedTuple):
    number: int
    source: str  # as the command names it
    path: Path

    @property
    def shown(self) -> str:
        return _readable(str(self.path))


def _readable(name: str) -> str:
    """A name on Linux may be any bytes; JSON and what people read may not."""
    return name.encode("utf-8", "replace").decode()


def find_files(sources: Sequence[str], but: Collection[Path] = ()) -> list[SourceFile]:
    """The files of all sources, each folder and pattern in the order of names.

    Args:
        but: left out, such as what an earlier run has written.

    Raises:
        UserError: a source names nothing.
    """
    found: dict[Path, str] = {}
    for source in sources:
        paths = _paths(source)
        if not paths:
            raise _names_nothing(source)
        for path in paths:
            if Path(os.path.realpath(path)) not in but:  # resolve() raises at a loop of links
                found.setdefault(path, _readable(source))
    return [SourceFile(i, source, path) for i, (path, source) in enumerate(found.items())]


def _paths(source: str) -> list[Path]:
    path = _hub_folder(source) if source.startswith(HUB) else Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(_inside(path))
    named = glob.glob(str(path), recursive=True)
    return sorted(each for each in map(Path, named) if each.is_file())


def _inside(folder: Path) -> Iterator[Path]:
    """Files that are not hidden, and what cannot be read, which is named when its turn comes."""
    locked: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=locked.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for each in (Path(place, name) for name in names if not name.startswith(".")):
            if each.is_file() or not each.exists():  # the latter is a link to nothing
                yield each
    yield from (Path(error.filename) for error in locked)


def _names_nothing(source: str) -> UserError:
    path = Path(source).expanduser()
    if source.startswith(HUB):
        return UserError(f"{source}: the data set has no file that prepare reads")
    if path.is_dir():
        return UserError(f"{source}: there is no file in this folder")
    if path.exists():
        return UserError(f"{source}: neither a file nor a folder")
    return UserError(f"{source}: there is no such file, and no file of this pattern")


def _hub_folder(source: str) -> Path:
    """The data files of `hub:owner/name[@revision]`, fetched into the hub's cache."""
    import huggingface_hub

    name, _, revision = source.removeprefix(HUB).partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            name,
            repo_type="dataset",
            revision=revision or None,
            allow_patterns=[f"*{ending}" for ending in READERS],
        )
    except Exception as error:  # the hub client raises errors of several unrelated libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{source}: the Hugging Face hub did not provide it ({reason})") from error
    return Path(folder)


def read_pieces(
    files: Sequence[SourceFile], settings: Settings, skipped: Skipped
) -> Iterator[Piece]:
    """The pieces of the files; `skipped` is told of each document that is left out."""
    for file in files:
        number, empty = 0, True
        try:
            for raw in read_documents(file.path, settings):
                empty = False
                for piece in _pieces(file, raw, settings, skipped, number):
                    number += 1
                    yield piece
            if empty:
                raise Skip("empty")
        except Skip as skip:
            skipped(file.shown, str(skip))


def _pieces(
    file: SourceFile, raw: Raw | Skip, settings: Settings, skipped: Skipped, number: int
) -> Iterator[Piece]:
    if isinstance(raw, Skip):
        skipped(file.shown, str(raw))
        return
    place = file.shown + (f", {raw.place}" if raw.place else "")
    lines = lines_of(raw.text)
    if not any(lines):
        skipped(place, "empty")
        return
    try:
        parts = split_long(lines, settings.max_words)
    except Skip as skip:
        skipped(place, str(skip))
        return
    title = " ".join(" ".join(lines_of(raw.title)).split())
    for i, part in enumerate(parts):
        of = f", part {i + 1} of {len(parts)}" if len(parts) > 1 else ""
        key = file.number << 32 | (number + i)
        text = "\n".join(part).strip("\n")
        yield Piece(key, file.source, place + of, text, title, raw.given or {})
