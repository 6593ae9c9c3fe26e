"""Files that are whole or absent: written beside, flushed to disk, renamed into place."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dftfast.runtime.errors import UserError


def cache_folder() -> Path:
    """Where downloads and derived data go.

    It is $DFTFAST_CACHE, else $XDG_CACHE_HOME/dftfast, else ~/.cache/dftfast.
    """
    if os.environ.get("DFTFAST_CACHE"):
        return Path(os.environ["DFTFAST_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dftfast"


def make_parent(path: Path) -> None:
    """Make the folder that a file of `--out` goes into, before the work and not after it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {path.parent} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to.

    It replaces `path` when the block ends without an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` to fill.

    It becomes `path` when the block ends without an error. If `path` has come into being meanwhile
    (another process made it), that one is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _sync(file)
        temporary.chmod(0o755)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def digest(*parts: object) -> str:
    """A short hash of JSON-able settings."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: str | Path, value: object) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=float) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
