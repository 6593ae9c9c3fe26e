"""Files of every kind to documents: (title, text, place in the file, other fields of a row)."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dftfast.data.load import read_rows
from dftfast.prepare.decode import (
    LARGEST_DOCUMENT,
    LONGEST_LINE,
    decode,
    read_lines,
    read_whole,
)
from dftfast.prepare.mail import message_text, messages_of
from dftfast.prepare.page_text import page_text
from dftfast.prepare.piece import Skip
from dftfast.prepare.settings import Settings
from dftfast.runtime.errors import UserError

_TITLE = re.compile(r"title:\s*[\"']?(.+?)[\"']?$")
_FIELDS = {"use_case": str, "style": str, "genre": str, "outline": list}  # of a row, kept


class Raw(NamedTuple):
    """A document as its file has it; `place` is empty where it is the whole file."""

    text: str
    title: str = ""
    place: str = ""
    given: dict | None = None


Found = Iterator[Raw | Skip]


def read_documents(path: Path, settings: Settings) -> Found:
    """The documents of a file, and a Skip for each that cannot be read.

    Raises:
        Skip: the whole file cannot be read.
    """
    name = path.name.lower()
    reader = next((READERS[end] for end in READERS if name.endswith(end)), None)
    try:
        if path.is_dir():
            os.listdir(path)  # a folder is named here for one reason alone: this fails
        elif reader is None:
            raise Skip(f"unknown kind of file ({path.suffix or 'no ending'})")
        else:
            yield from reader(path, settings)
    except OSError as error:
        raise Skip(f"cannot be read: {error.strerror or error}") from None
    except UnicodeError:
        raise Skip("text in an unknown or broken encoding") from None


def _text(path: Path, settings: Settings) -> Iterator[Raw]:
    """One document, or one from each line that fits the pattern to the next."""
    pattern = re.compile(settings.split_at) if settings.split_at else None
    document: list[str] = []
    size, number, start = 0, 0, 1
    for number, line in enumerate(read_lines(path), 1):
        if pattern and pattern.search(line) and any(map(str.strip, document)):
            yield Raw("\n".join(document), place=f"line {start}")
            document, size, start = [], 0, number
        document.append(line)
        size += len(line) + 1
        if size > LARGEST_DOCUMENT:
            raise Skip(
                f"a document of more than {LARGEST_DOCUMENT >> 20} MiB; --split-at cuts files "
                "of many documents"
            )
    if document:
        yield Raw("\n".join(document), place=f"line {start}" if start > 1 else "")


def _markdown(path: Path, settings: Settings) -> Found:
    """As text; a block of YAML before it gives the title and is no part of the text."""
    for raw in _text(path, settings):
        lines = raw.text.split("\n")
        end = lines.index("---", 1) if lines[:1] == ["---"] and "---" in lines[1:] else 0
        named = filter(None, map(_TITLE.match, lines[1:end]))
        title = next((match[1] for match in named), "")
        yield raw._replace(text="\n".join(lines[end + 1 :]), title=title) if end else raw


def _page(path: Path, settings: Settings) -> Found:
    text, title = page_text(decode(read_whole(path)))
    yield Raw(text, title)


def _mail(path: Path, settings: Settings) -> Found:
    yield Raw(*message_text(read_whole(path)))


def _mailbox(path: Path, settings: Settings) -> Found:
    for number, raw in enumerate(messages_of(path), 1):
        try:
            if len(raw) > LARGEST_DOCUMENT:
                raise Skip(f"one message of more than {LARGEST_DOCUMENT >> 20} MiB")
            yield Raw(*message_text(raw), place=f"message {number}")
        except Skip as skip:
            yield skip


def _word(path: Path, settings: Settings) -> Found:
    import docx

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_DOCUMENT:
                raise Skip(f"unpacks to more than {LARGEST_DOCUMENT >> 20} MiB")
        document = docx.Document(str(path))
        lines = [paragraph.text for paragraph in document.paragraphs]
        title = document.core_properties.title or ""
    except (OSError, Skip):
        raise
    except Exception as error:  # zipfile, lxml and python-docx share no kind of error
        raise Skip(f"not a readable .docx ({type(error).__name__})") from None
    yield Raw("\n".join(lines), title)


def _table(path: Path, settings: Settings) -> Found:
    """A row a document."""
    csv.field_size_limit(LONGEST_LINE)
    lines = read_lines(path)
    head = next(lines, "")
    delimiter = max(",;\t|", key=head.count)
    names = next(csv.reader([head], delimiter=delimiter), [])
    reader = csv.DictReader((f"{line}\n" for line in lines), names, delimiter=delimiter)
    try:
        for row in reader:
            yield _row(row, f"line {reader.line_num + 1}", settings)
    except csv.Error as error:
        raise Skip(f"not readable as .csv: {error}") from None


def _rows(path: Path, settings: Settings) -> Found:
    try:
        for number, row in read_rows(path):
            if isinstance(row, dict):
                yield _row(row, f"row {number}", settings)
            else:
                # without the place in the line, so that the same mistakes are counted together
                said = re.sub(r" \([^)]*\)", "", str(row)) if isinstance(row, UserError) else None
                yield Skip(said or "not a row of fields")
    except UserError as error:
        raise Skip(str(error).removeprefix(f"{path}: ")) from None


def _row(row: dict, place: str, settings: Settings) -> Raw | Skip:
    text = row.get(settings.text_field)
    if not isinstance(text, str):
        return Skip(f"no text in the field {settings.text_field!r}; --text-field names another")
    title = row.get("title") or row.get("prompt")
    given = {k: row[k] for k, kind in _FIELDS.items() if row.get(k) and isinstance(row[k], kind)}
    if isinstance(row.get("id"), (str, int)):
        given["source_id"] = str(row["id"])
    return Raw(text, title if isinstance(title, str) else "", place, given)


READERS: dict[str, Callable[[Path, Settings], Found]] = {
    ".jsonl.gz": _rows,
    ".jsonl": _rows,
    ".parquet": _rows,
    ".csv": _table,
    ".txt": _text,
    ".md": _markdown,
    ".html": _page,
    ".htm": _page,
    ".eml": _mail,
    ".mbox": _mailbox,
    ".docx": _word,
}
