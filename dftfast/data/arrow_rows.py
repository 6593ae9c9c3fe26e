"""Rows of parquet and Arrow files, and of data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dftfast.runtime.errors import UserError

HUB = "hf:"


def parquet_rows(path: Path, largest: int) -> Iterator[tuple[int, object]]:
    """The rows of a parquet file, from 1; one that unpacks to more bytes than that is refused."""
    _check_pyarrow(path)
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > largest:
                raise UserError(f"{path}: unpacks to many times its size; that is no text")
            yield from _numbered(file.iter_batches(batch_size=1024))
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a readable parquet file: {error}") from error


def arrow_rows(path: Path) -> Iterator[tuple[int, object]]:
    """The rows of an Arrow stream or file, as `datasets` saves and caches them."""
    _check_pyarrow(path)
    import pyarrow
    import pyarrow.ipc

    try:
        with open(path, "rb") as file:
            if file.read(6) == b"ARROW1":
                reader = pyarrow.ipc.open_file(file)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                file.seek(0)
                batches = pyarrow.ipc.open_stream(file)
            yield from _numbered(batches)
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a readable Arrow file: {error}") from error


def hub_rows(name: str) -> Iterator[tuple[int, object]]:
    """The rows of `hf:NAME[:CONFIG]:SPLIT`, fetched into the hub's cache.

    NAME is a data set's id or a folder that `datasets` loads.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(f"{name}: needs datasets: pip install 'dftfast[datasets]'") from None
    parts = name.removeprefix(HUB).split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UserError(
            f"{name}: expected hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, as hf:owner/stories:train"
        )
    try:
        loaded = datasets.load_dataset(parts[0], *parts[1:-1], split=parts[-1])
    except Exception as error:  # the hub client raises errors of several unrelated libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name}: datasets did not provide it ({reason}); check the name, the split and the "
            "connection"
        ) from error
    yield from enumerate(loaded, 1)


def _numbered(batches) -> Iterator[tuple[int, object]]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _check_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{path}: reading .parquet and .arrow needs pyarrow: pip install 'dftfast[parquet]'"
        ) from error
