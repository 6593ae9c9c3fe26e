"""What flows through the steps: a document or a part of one, which becomes a row."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field

_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTROL = dict.fromkeys(i for i in (*range(32), *range(127, 160)) if i not in (9, 10, 13))


class Skip(Exception):
    """A file or document that is left out; the message says why and is counted."""


@dataclass(frozen=True)
class Piece:
    """A document, or a part of one that is over-long.

    Attributes:
        key: place in the order of the corpus: number of the file << 32 | number in the file.
        source: the argument of the command that it came by; lines are counted in each source.
        origin: file and place in it, for people.
        text: the lines as they were read.
        title: as the document names itself, or empty.
        given: fields of a row that came with the text (use_case, style, genre, outline, source_id).
        lines: numbers (from 0) of the lines kept so far; None before cleaning.
        language: code of ISO 639-1, and the script that most letters are of; None before cleaning.
        brief: the row's brief, once written.
    """

    key: int
    source: str
    origin: str
    text: str
    title: str = ""
    given: dict = field(default_factory=dict)
    lines: tuple[int, ...] | None = None
    language: tuple[str, str] | None = None
    brief: dict | None = None

    @property
    def id(self) -> str:
        """A hash of title and text as read: moved files keep their part of the corpus."""
        return hashlib.sha256(f"{self.title}\0{self.text}".encode()).hexdigest()[:16]

    @property
    def cleaned(self) -> str:
        """The kept lines; blank lines at both ends are left out."""
        if self.lines is None:
            return self.text
        lines = self.text.split("\n")
        return "\n".join(lines[i] for i in self.lines).strip("\n")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict) -> Piece:
        for name in ("lines", "language"):
            if row[name] is not None:
                row[name] = tuple(row[name])
        return cls(**row)


def lines_of(text: str) -> list[str]:
    """Lines of any system, without control characters, halves of surrogates and trailing blanks."""
    text = text.encode("utf-8", "replace").decode().removeprefix("\ufeff")
    return [line.translate(_CONTROL).rstrip() for line in _LINE_END.split(text)]
