"""Generations, one JSON object a line: what a model wrote for each brief, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from dftfast.data.document import Document, encodable
from dftfast.data.prompt import prompt_messages
from dftfast.data.row_files import read_rows
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file

Reader = Callable[[Path], Iterable[tuple[int, object]]]  # of `load.read_rows`

LARGEST_ID = 2**21 - 1  # of a token: three of them fit one number of 63 bits
_FIELDS = {"title": str, "prompt": str, "finish_reason": str, "sampler": dict, "model": str}


def generation(
    document: Document,
    text: str,
    token_ids: list[int] | None,
    finish_reason: str,
    sampler: dict,
    model: str,
) -> dict:
    """The row of one text: the arguments, the `id` of the document, and its `prompt`.

    The prompt is as the model was shown it, the last message.

    Args:
        token_ids: those of the text; None where they are not known.
        finish_reason: "stop", "length", or a server's other reason.
        sampler: temperature, top_k, top_p, seed.
    """
    return {
        "id": document.id,
        "prompt": prompt_messages(document)[-1]["content"],
        "text": text,
        "token_ids": token_ids,
        "finish_reason": finish_reason,
        "sampler": sampler,
        "model": model,
    }


def write_generations(path: str | Path, rows: Iterable[dict]) -> None:
    """Write the file whole or not at all."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_generations(path: str | Path, read: Reader = read_rows) -> list[dict]:
    """The rows of a file with one text for each id, of this project or any other tool.

    A row needs `id` (string or integer, given back as a string) and `text` (a string, which may be
    empty); the other fields of `generation` may be missing but not of another type. `read` reads a
    file of another kind into such rows.

    Raises:
        UserError: a row is not so, or an id is used twice; the message says file, line and field.
    """
    known = set()
    for number, row in (rows := _numbered_rows(path, read)):
        if row["id"] in known:
            raise UserError(
                f"{path}, line {number}: id: {row['id']!r} was used before; "
                "there can be one text for each id"
            )
        known.add(row["id"])
    return [row for _, row in rows]


def read_draws(path: str | Path, read: Reader = read_rows) -> list[list[dict]]:
    """The rows of a file of generations by draw: the first row of each id, the second, and so on.

    Rows are as in `read_generations`. Every draw has all ids, in the order in which the file names
    them first. A prompt's answers may stand one after the other, as `generate --n` writes them, or
    a whole draw after another, as a run does.

    Raises:
        UserError: as `read_generations`, or not every id has the same number of texts.
    """
    answers: dict[str, list[dict]] = {}
    for _, row in _numbered_rows(path, read):
        answers.setdefault(row["id"], []).append(row)
    counts = {identifier: len(rows) for identifier, rows in answers.items()}
    most, least = (choose(counts, key=counts.__getitem__) for choose in (max, min))
    if counts[most] != counts[least]:
        raise UserError(
            f"{path}: id {most!r} has {counts[most]} texts and id {least!r} has {counts[least]}; "
            "every id needs the same number"
        )
    return [list(draw) for draw in zip(*answers.values())]


def _numbered_rows(path: str | Path, read: Reader) -> list[tuple[int, dict]]:
    """Each row with its line, checked; at least one."""
    rows = []
    for number, row in read(Path(path)):
        try:
            rows.append((number, _checked(row)))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    if not rows:
        raise UserError(f"{path}: no generation in it")
    return rows


def _checked(row: object) -> dict:
    if isinstance(row, UserError):
        raise row
    if not isinstance(row, dict):
        raise UserError(f"expected a JSON object, found {type(row).__name__}")
    identifier, text, tokens = row.get("id"), row.get("text"), row.get("token_ids")
    if not isinstance(identifier, (str, int)) or isinstance(identifier, bool):
        raise UserError("id: missing, or neither a string nor an integer")
    if not isinstance(text, str):
        raise UserError("text: missing, or not a string")
    if tokens is not None and not (
        isinstance(tokens, list) and all(type(t) is int and t >= 0 for t in tokens)
    ):
        raise UserError("token_ids: expected a list of token ids (integers from 0)")
    if tokens and max(tokens) > LARGEST_ID:
        raise UserError(f"token_ids: an id above {LARGEST_ID:,}, which no vocabulary has")
    for field, kind in _FIELDS.items():
        if row.get(field) is not None and not isinstance(row[field], kind):
            raise UserError(f"{field}: expected {'an object' if kind is dict else 'a string'}")
    for field, value in (
        ("id", str(identifier)),
        ("text", text),
        ("prompt", row.get("prompt") or ""),
    ):
        encodable(value, field)
    return row | {"id": str(identifier)}
