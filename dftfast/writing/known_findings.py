"""Findings that a project has already and does not want to see again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import digest, write_json
from dftfast.writing.finding_formats import Placed


def write_known(path: Path, found: Sequence[Placed]) -> None:
    write_json(path, {"known": dict(sorted(Counter(map(_mark, found)).items()))})


def without_known(path: Path, found: Sequence[Placed]) -> list[Placed]:
    """The findings that are not in the file, or are there fewer times.

    A finding is known by its path, its rule and the words that it is about, so that one that only
    moves stays known.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        left = Counter({str(mark): int(count) for mark, count in content["known"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: no file of known findings ({error}); --write-baseline writes one"
        ) from None
    new = []
    for placed in found:
        mark = _mark(placed)
        if left[mark]:
            left[mark] -= 1
        else:
            new.append(placed)
    return new


def _mark(placed: Placed) -> str:
    words = " ".join(placed.excerpt.split()) or placed.finding.message
    return digest(placed.source.path, placed.finding.rule, words)
