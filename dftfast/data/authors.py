"""Who wrote a corpus, where its rows say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dftfast.data.arrow_rows import HUB, hub_rows
from dftfast.data.row_files import read_rows

FIELDS = ("author", "authors", "byline", "writer", "from", "sender", "speaker", "username")


def only_author(paths: Sequence[str | Path]) -> tuple[str, str] | None:
    """(field, name) where every row has one of `FIELDS` and all have the same in it."""
    names: dict[str, set[str]] = {field: set() for field in FIELDS}
    for path in paths:
        rows = hub_rows(str(path)) if str(path).startswith(HUB) else read_rows(Path(path))
        for _, row in rows:
            if not isinstance(row, Mapping):
                continue
            for field in list(names):
                value = row.get(field)
                if value is None or not str(value).strip():
                    del names[field]  # a row without it: nobody can tell
                else:
                    names[field].add(" ".join(str(value).split()).casefold())
                    if len(names[field]) > 1:
                        del names[field]
            if not names:
                return None
    return next(((field, found.pop()) for field, found in names.items() if found), None)
