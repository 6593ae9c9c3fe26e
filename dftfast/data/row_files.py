"""Files of rows: JSON Lines, JSON arrays, CSV, TSV, parquet, and folders of these.

Whatever the file, a row comes with the number that its owner would look it up by.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

from dftfast.data.arrow_rows import arrow_rows, parquet_rows
from dftfast.runtime.errors import UserError

LONGEST_LINE = 4 * 2**20  # bytes; a longer line is some other format
LARGEST_ARRAY = 512 * 2**20  # bytes of a file that has to be read whole
# Of a file's unpacked size to its own: text packs to a third, at most to a tenth.
LARGEST_RATIO = 100
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".tsv", ".parquet", ".arrow")
_NOT_ROWS = {"dataset_info.json", "state.json", "config.json"}  # beside the data of a folder
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Read a file, or the files of a folder (one saved by `datasets`, or of any of these endings).

    Yields:
        Line or row, from 1, and the decoded row or the UserError that decoding it gave.
    """
    if path.is_dir():
        yield from _folder_rows(path)
        return
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from parquet_rows(path, max(LARGEST_RATIO * path.stat().st_size, LONGEST_LINE))
        elif name.endswith(".arrow"):
            yield from arrow_rows(path)
        elif name.endswith((".csv", ".tsv")):
            yield from _table_rows(path, "\t" if name.endswith(".tsv") else ",")
        elif name.endswith((".jsonl.gz", ".json.gz")):
            largest = LARGEST_RATIO * path.stat().st_size
            yield from _json_rows(path, gzip.open(path, "rb"), largest=largest)
        elif name.endswith((".jsonl", ".json")):
            yield from _json_rows(path, open(path, "rb"))
        else:
            raise UserError(
                f"{path}: unknown kind of file; expected one of {', '.join(ENDINGS)}, or a folder "
                "of them"
            )
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _folder_rows(folder: Path) -> Iterator[tuple[int, object]]:
    """The rows of a folder's files one after the other, numbered through."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(each.name for each in folder.iterdir() if each.is_dir())
        raise UserError(
            f"{folder}: holds the splits {', '.join(splits)}; name one: {folder / splits[0]}"
            if splits
            else f"{folder}: no split in it"
        )
    files = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(ENDINGS) and path.name not in _NOT_ROWS
    )
    if not files:
        raise UserError(f"{folder}: no data file in it; expected {', '.join(ENDINGS)}")
    number = 0
    for file in files:
        for _, row in read_rows(file):
            number += 1
            yield number, row


def _json_rows(path: Path, file, largest: float = math.inf) -> Iterator[tuple[int, object]]:
    with file:
        number = size = 0
        while line := file.readline(LONGEST_LINE + 1):
            number, size = number + 1, size + len(line)
            if number == 1:
                start = line.removeprefix(b"\xef\xbb\xbf").lstrip()
                if line.startswith(UTF16):
                    raise UserError(f"{path}: UTF-16 (byte order mark); save it as UTF-8")
                array = start[:1] == b"[" and start[1:].lstrip()[:1] in (b"{", b"", b"]")
                if array:  # no row begins so
                    yield from _array_rows(path, line, file)
                    return
            if size > max(largest, LONGEST_LINE):
                raise UserError(
                    f"{path}: unpacks to more than {LARGEST_RATIO} times its size; that is no text"
                )
            if len(line) > LONGEST_LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST_LINE)
                limit = f"{LONGEST_LINE >> 20} MiB"
                yield number, UserError(f"longer than {limit}; expected one JSON object a line")
            elif line.strip():
                yield number, _decode(line)


def _decode(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return UserError(f"not valid UTF-8 (byte {error.start + 1} of the line)")
    except json.JSONDecodeError as error:
        return UserError(f"not valid JSON (column {error.colno}): {error.msg}")
    except ValueError as error:  # an integer of thousands of digits
        return UserError(f"not valid JSON for a row: {error}")
    except RecursionError:
        return UserError("not valid JSON for a row: nested too deeply")


def _array_rows(path: Path, start: bytes, file) -> Iterator[tuple[int, object]]:
    """The elements of a file that is one JSON array, of which `start` has been read."""
    rest = file.read(LARGEST_ARRAY + 1)
    if len(rest) > min(LARGEST_ARRAY, max(LARGEST_RATIO * path.stat().st_size, LONGEST_LINE)):
        raise UserError(f"{path}: too large for one JSON array; write one JSON object a line")
    try:
        rows = json.loads((start + rest).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: begins as a JSON array, but is not one: {error}") from None
    yield from enumerate(rows, 1)


def _table_rows(path: Path, separator: str) -> Iterator[tuple[int, object]]:
    """Rows of a table whose first line names the columns; empty cells are missing."""
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        with open(path, "rb") as raw:
            if raw.read(2) in UTF16:
                raise UserError(f"{path}: UTF-16 (byte order mark); save it as UTF-8")
            raw.seek(0)
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            table = csv.DictReader(text, delimiter=separator, strict=True)
            for row in table:
                if None in row or None in row.values():
                    columns = len(table.fieldnames or ())
                    yield table.line_num, UserError(f"not the {columns} cells of the first line")
                else:
                    yield table.line_num, {k: _cell(k, v) for k, v in row.items() if v != ""}
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 ({error.reason})") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a readable table: {error}") from None
    finally:
        csv.field_size_limit(before)


def _cell(column: str, value: str) -> object:
    """What a cell of this column stands for: only texts are texts."""
    if column in ("messages", "conversations", "outline") or value.startswith(('[{"', "[{'")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if column == "target_words":
        try:
            return float(value)
        except ValueError:
            return value
    if column == "em_dashes_allowed":
        return {"true": True, "false": False}.get(value.lower(), value)
    return value
