"""Corpus files to documents: .jsonl, .jsonl.gz and .parquet.

Every bad line is reported with file, line and field.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dftfast.data.document import Document, parse_row, words
from dftfast.data.split import hash_share
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)
LONGEST_LINE = 4 * 2**20  # bytes; a longer line is some other format
# Of a file's unpacked size to its own: text packs to a third, at most to a tenth.
_LARGEST_RATIO = 100
_REPORTED = 20


def load_corpus(
    paths: Sequence[str | Path],
    *,
    skip_bad_lines: bool = False,
    max_words: int | None = None,
    limit: int | None = None,
    needs_text: bool = True,
) -> list[Document]:
    """Read the files in the order given.

    Args:
        skip_bad_lines: leave bad lines out, each one logged and their number too; otherwise the
            first is a UserError.
        max_words: leave longer texts out (their number is logged).
        limit: keep this many documents, chosen by the hash of their ids, in file order.
        needs_text: False reads briefs for generation, which need no text.

    Raises:
        UserError: a missing or unreadable file, a bad line (see `skip_bad_lines`), or no document
            at all.
    """
    if not paths:
        raise UserError("no corpus file was given")
    documents, bad = _read_all([Path(path) for path in paths], needs_text)
    if bad and not skip_bad_lines:
        others = f" (and {len(bad) - 1} more bad lines)" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{others}; to leave bad lines out, set data.skip_bad_lines=true")
    for complaint in bad[:_REPORTED]:
        log.warning("left out: %s", complaint)
    if bad:
        log.warning("%d bad lines left out, %d documents read", len(bad), len(documents))
    if max_words is not None:
        short = [document for document in documents if len(words(document.text)) <= max_words]
        if len(short) < len(documents):
            log.info(
                "%d of %d texts have more than %d words and are left out",
                len(documents) - len(short),
                len(documents),
                max_words,
            )
        documents = short
    if limit is not None and limit < len(documents):
        shares = [hash_share(document.id, "limit") for document in documents]
        chosen = set(sorted(range(len(documents)), key=shares.__getitem__)[:limit])
        documents = [document for i, document in enumerate(documents) if i in chosen]
    if not documents:
        raise UserError(f"{', '.join(map(str, paths))}: no usable text in it")
    return documents


def with_token_counts(documents: Sequence[Document], tokenizer) -> list[Document]:
    """The documents with `target_tokens`, by anything that has `encode_batch(texts)`."""
    lengths = map(len, tokenizer.encode_batch([document.text for document in documents]))
    return [replace(document, target_tokens=n) for document, n in zip(documents, lengths)]


def _read_all(paths: list[Path], needs_text: bool) -> tuple[list[Document], list[str]]:
    documents: list[Document] = []
    bad: list[str] = []
    first_use: dict[str, str] = {}  # id -> where
    repeated = 0  # rows without an id that are the same as an earlier one
    for path in paths:
        for number, row in read_rows(path):
            where = f"{path}, line {number}"
            try:
                if isinstance(row, UserError):
                    raise row
                document = parse_row(row, needs_text)
                without_id = isinstance(row, Mapping) and row.get("id") is None
                if document.id in first_use and without_id:
                    repeated += 1
                    continue
                if document.id in first_use:
                    raise UserError(
                        f"id: {document.id!r} was used before ({first_use[document.id]})"
                    )
            except UserError as error:
                bad.append(f"{where}: {error}")
                continue
            first_use[document.id] = where
            documents.append(document)
    if repeated:
        log.warning("%d rows repeat an earlier row's prompt and text and are left out", repeated)
    return documents, bad


def read_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Read a .jsonl, .jsonl.gz or .parquet file.

    Yields:
        Line number, and the decoded row or the UserError that decoding it gave.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet_rows(path)
        elif name.endswith((".jsonl.gz", ".json.gz")):
            yield from _json_rows(
                path, gzip.open(path, "rb"), largest=_LARGEST_RATIO * path.stat().st_size
            )
        elif name.endswith((".jsonl", ".json")):
            yield from _json_rows(path, open(path, "rb"))
        else:
            raise UserError(f"{path}: unknown kind of file; expected .jsonl, .jsonl.gz or .parquet")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _json_rows(path: Path, file, largest: float = math.inf) -> Iterator[tuple[int, object]]:
    with file:
        number = size = 0
        while line := file.readline(LONGEST_LINE + 1):
            number, size = number + 1, size + len(line)
            if size > max(largest, LONGEST_LINE):
                raise UserError(
                    f"{path}: unpacks to more than {_LARGEST_RATIO} times its size; that is no text"
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


def _parquet_rows(path: Path) -> Iterator[tuple[int, object]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path}: reading .parquet needs pyarrow: pip install 'dftfast[parquet]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > max(
                _LARGEST_RATIO * path.stat().st_size, LONGEST_LINE
            ):
                raise UserError(
                    f"{path}: unpacks to more than {_LARGEST_RATIO} times its size; that is no text"
                )
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a readable parquet file: {error}") from error
