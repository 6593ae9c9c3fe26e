"""Corpora to documents: files and folders of rows, and data sets of the hub.

Every bad line is reported with file, line and field.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dftfast.data.arrow_rows import HUB, hub_rows
from dftfast.data.document import Document, parse_row
from dftfast.data.forms import PAGE, PLAIN_BRIEF
from dftfast.data.row_files import read_rows
from dftfast.data.split import hash_share
from dftfast.runtime.errors import UserError
from dftfast.runtime.words import words

log = logging.getLogger(__name__)
_REPORTED = 20


def load_corpus(
    paths: Sequence[str | Path],
    *,
    skip_bad_lines: bool = False,
    max_words: int | None = None,
    limit: int | None = None,
    needs_text: bool = True,
    skip_option: str = "data.skip_bad_lines=true",
) -> list[Document]:
    """Read the files in the order given.

    Args:
        skip_bad_lines: leave bad lines out, each one logged and their number too; otherwise the
            first is a UserError.
        max_words: leave longer texts out (their number is logged).
        limit: keep this many documents, chosen by the hash of their ids, in file order.
        needs_text: False reads briefs for generation, which need no text.
        skip_option: how the user asks for `skip_bad_lines`.

    Raises:
        UserError: a missing or unreadable file, a bad line (see `skip_bad_lines`), or no document
            at all.
    """
    if not paths:
        raise UserError("no corpus file was given")
    documents, bad = _read_all(paths, needs_text)
    if bad and not skip_bad_lines:
        others = f" (and {len(bad) - 1} more bad lines)" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{others}; to leave bad lines out: {skip_option}")
    for complaint in bad[:_REPORTED]:
        log.warning("left out: %s", complaint)
    if bad:
        log.warning("%d bad lines left out, %d documents read", len(bad), len(documents))
    if max_words is not None:
        short = [document for document in documents if len(words(document.text)) <= max_words]
        if len(short) < len(documents):
            log.info(
                "%d of %d texts have more than %d words (data.max_words) and are left out",
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


def _read_all(paths: Sequence[str | Path], needs_text: bool) -> tuple[list[Document], list[str]]:
    documents: list[Document] = []
    bad: list[str] = []
    first_use: dict[str, str] = {}  # id -> where
    repeated = 0  # rows without an id that are the same as an earlier one
    for path in paths:
        rows = hub_rows(str(path)) if str(path).startswith(HUB) else read_rows(Path(path))
        for number, row in rows:
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
    plain = sum(document.prompt == PLAIN_BRIEF for document in documents)
    if plain:
        log.warning(
            "%d of %d rows have a text and nothing that asks for it: their brief is %r and the "
            "length; with a title or a prompt for each the model can be asked for more (%s)",
            *(plain, len(documents), PLAIN_BRIEF, PAGE),
        )
    return documents, bad
