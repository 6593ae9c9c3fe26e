"""Pieces with briefs to the rows of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dftfast.data.document import EM_DASH
from dftfast.prepare.clean import is_subsequence
from dftfast.prepare.extractive import extractive_brief
from dftfast.prepare.piece import Piece
from dftfast.prepare.privacy import Mask
from dftfast.runtime.words import words

_MASKED = ("text", "title", "prompt", "outline")


def with_briefs(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces with extractive briefs where they have none."""
    for piece in pieces:
        brief = piece.brief or {"brief": "extractive", **extractive_brief(piece)}
        yield replace(piece, brief=brief)


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
        row = {"id": piece.id, "source": piece.origin, **(piece.brief or {}), "text": text}
        row |= {k: v for k, v in piece.given.items() if k in ("genre", "source_id")}
        row |= {"language": language, "script": script}
        row = mask.row(row, _MASKED) if mask else row
        row["words"] = len(words(row["text"]))
        if count_tokens:
            row["tokens"] = count_tokens(row["text"])
        row["em_dashes_allowed"] = EM_DASH in row["text"]
        yield row
