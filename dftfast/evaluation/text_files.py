"""Files of texts as people have them: rows of any tool, tables, files with names of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dftfast.data.row_files import read_rows
from dftfast.runtime.errors import UserError

Reader = Callable[[Path], Iterator[tuple[int, object]]]


def named_file(given: str) -> tuple[str, str]:
    """Name and path of NAME=FILE or FILE, which is named after itself."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        name, path = Path(given).stem, given
        for suffix in (".jsonl", ".json"):  # of x.jsonl.gz
            name = name.removesuffix(suffix)
    return "".join(c if c.isprintable() else "\ufffd" for c in name), path


def reader(text_field: str | None = None, id_field: str = "id") -> Reader:
    """Reads any file of rows (`data.row_files`) into rows with `id` and `text`.

    A row has its text in `text_field` where that is given, else in `text`, in the last message of
    `messages`, or in `completion` (docs/corpus.md). Where no row of a file has an id, its rows are
    numbered: such ids are those of no other file.

    Each row comes with its line; where it cannot be read, the UserError that says why stands for
    it.
    """

    def read(path: Path) -> Iterator[tuple[int, object]]:
        lines = list(read_rows(path))
        unnamed = all(not isinstance(row, Mapping) or row.get(id_field) is None for _, row in lines)
        for number, row in lines:
            try:
                row = _plain(row, text_field, id_field)
            except UserError as error:
                row = error
            if unnamed and isinstance(row, dict):
                row["id"] = f"{path}#{number}"
            yield number, row

    return read


def _plain(row: object, text_field: str | None, id_field: str) -> object:
    """The row with `text`, `prompt` and `id` where this project has them."""
    if not isinstance(row, Mapping):
        return row
    plain = dict(row)
    plain["id"] = row.get(id_field)
    if text_field is not None:
        if text_field not in row:
            fields = ", ".join(map(str, row)) or "none"
            raise UserError(f"{text_field}: missing (--text-field); the fields are {fields}")
        plain["text"] = row[text_field]
    elif "messages" in row:
        messages = _contents(row["messages"], "messages")
        if row["messages"][-1].get("role") != "assistant":
            raise UserError("messages: the last one must be the assistant's")
        plain["text"], plain["prompt"] = messages[-1], messages[-2] if len(messages) > 1 else ""
    elif "completion" in row:
        answer = row["completion"]
        plain["text"] = answer if isinstance(answer, str) else _contents(answer, "completion")[-1]
    elif "text" not in row:
        fields = ", ".join(map(str, row)) or "none"
        raise UserError(f"text: missing; the fields are {fields} (--text-field names another)")
    if isinstance(plain.get("prompt"), list):
        plain["prompt"] = _contents(plain["prompt"], "prompt")[-1]
    return plain


def _contents(messages: object, field: str) -> list[str]:
    contents = [
        m["content"]
        for m in (messages if isinstance(messages, list) else ())
        if isinstance(m, Mapping) and isinstance(m.get("content"), str)
    ]
    if not contents or not isinstance(messages, list) or len(contents) < len(messages):
        raise UserError(f"{field}: expected a list of messages with `role` and `content`")
    return contents
