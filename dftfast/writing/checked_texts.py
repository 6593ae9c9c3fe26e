"""Texts to check: files of prose, and files of rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dftfast.data.document import Document, parse_row
from dftfast.data.row_files import read_rows
from dftfast.runtime.errors import UserError

PROSE = (".txt", ".md", ".markdown", ".rst")
_ROWS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".json", ".parquet")
_IN_FOLDERS = (*PROSE, ".jsonl")
_CODE = re.compile(  # and tables, and where links go
    r"^(```|~~~).*?(?:^\1[^\n]*$|\Z)|`[^`\n]+`|(?<=\])\([^()\s]+\)|\bhttps?://[^\s)>]+|^\|[^\n]*",
    re.MULTILINE | re.DOTALL,
)
_WRAP = (40, 120)  # columns at which prose is wrapped


@dataclass(frozen=True)
class CheckedText:
    """A text and where it is from.

    Attributes:
        path: of its file. row: number of its line in a file of rows, else None.
        text: with spaces for code and for line breaks that only wrap, so that places stay.
    """

    path: str
    text: str
    row: int | None = None
    brief: Document | None = None

    def excerpt(self, start: int, end: int) -> str:
        return self.text[start:end].replace(_SOFT, "\n")

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column), from 1, columns in characters.

        In a file of rows the line is the row's and columns are counted through its text.
        """
        if self.row is not None:
            return self.row, offset + 1
        return (
            self.text.count("\n", 0, offset) + self.text.count(_SOFT, 0, offset) + 1,
            offset - max(self.text.rfind("\n", 0, offset), self.text.rfind(_SOFT, 0, offset)),
        )


_SOFT = "\x0b"  # white space to every rule, and no line break to them


def read_texts(
    paths: Sequence[Path], briefs: Mapping[str, Document] | None = None
) -> Iterator[CheckedText]:
    """The texts of files, and of the files with known endings in folders.

    Args:
        briefs: id -> brief, for rows; those that are not in it are their own brief.

    Raises:
        UserError: no such file, an ending that is not known, a bad row, no UTF-8.
    """
    for path in paths:
        if path.is_dir():
            inner = sorted(p for p in path.rglob("*") if p.name.endswith(_IN_FOLDERS))
            if not inner:
                raise UserError(f"{path}: no file to check in it ({', '.join(_IN_FOLDERS)})")
            yield from read_texts(inner, briefs)
        elif path.name.endswith(_ROWS):
            yield from _rows(path, briefs or {})
        elif path.suffix.lower() in PROSE:
            yield CheckedText(str(path), prose(_read(path), path.suffix.lower()))
        else:
            raise UserError(
                f"{path}: {', '.join((*PROSE, *_ROWS))} are checked; rename or convert it"
            )


def prose(text: str, ending: str) -> str:
    """The text of a file with what rules must not read as words or as ends of sentences blanked."""
    if ending != ".txt":
        blank = lambda m: re.sub(r"[^\n]", " ", m.group())
        text = _CODE.sub(blank, text)
    return _unwrapped(text)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8: {error}") from None


def _rows(path: Path, briefs: Mapping[str, Document]) -> Iterator[CheckedText]:
    for number, row in read_rows(path):
        if isinstance(row, Exception):
            raise UserError(f"{path}:{number}: {row}")
        try:
            own = parse_row(row)
        except UserError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        yield CheckedText(str(path), own.text, number, briefs.get(own.id, own))


def _unwrapped(text: str) -> str:
    """Line breaks at which a line was full become `_SOFT`: the first word after had no room."""
    out = []
    for block in re.split(r"(\n[ \t\r]*\n)", text):
        lines = block.split("\n")
        width = max(map(len, lines))
        full = _WRAP[0] <= width <= _WRAP[1]
        for line, after in pairwise(lines):
            word = re.match(r"[^\s\-*#>|+]\S*", after)
            wrapped = full and word is not None and len(line) + 1 + word.end() > width
            out += [line, _SOFT if wrapped else "\n"]
        out.append(lines[-1])
    return "".join(out)
