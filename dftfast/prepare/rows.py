"""Pieces to the rows of a corpus, with extractive briefs where they have none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from dftfast.data.document import EM_DASH
from dftfast.prepare.clean import is_subsequence
from dftfast.prepare.extractive import extractive_brief
from dftfast.prepare.piece import Piece
from dftfast.prepare.privacy import Mask
from dftfast.runtime.words import words

_NUMBER = re.compile(r"\d+")
_MASKED = ("title", "prompt", "outline")


def to_rows(
    pieces: Iterable[Piece],
    mask: Mask | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Iterator[dict]:
    """A row of a corpus for each piece (docs/corpus.md).

    Raises:
        RuntimeError: a text is not made of lines of its document, which nothing may bring about.
    """
    for piece in pieces:
        text = piece.cleaned
        if not is_subsequence(text.split("\n"), piece.text.split("\n")):
            raise RuntimeError(f"{piece.origin}: cleaning did more than delete lines")
        language, script = piece.language or ("und", "none")
        # a brief is taken from the masked text: parts of a number are not known as one
        text = mask.text(text) if mask else text
        brief = piece.brief or {"brief": "extractive", **extractive_brief(piece, text)}
        row = {"id": piece.id, "source": piece.origin, **brief, "text": text}
        row |= {k: v for k, v in piece.given.items() if k in ("genre", "source_id")}
        row |= {"language": language, "script": script}
        if mask:
            row = mask.row(row, _MASKED)
            row["outline"] = [point for point in row.get("outline", []) if _told(point, text)]
        row["words"] = len(words(row["text"]))
        if count_tokens:
            row["tokens"] = count_tokens(row["text"])
        row["em_dashes_allowed"] = EM_DASH in row["text"]
        yield row


def _told(point: str, text: str) -> bool:
    """Whether every number and address of a point is in the masked text, too."""
    return _private(text) >= _private(point)


def _private(text: str) -> set[str]:
    return {*_NUMBER.findall(text), *(word for word in text.split() if "@" in word)}
