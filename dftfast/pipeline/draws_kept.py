"""Files of generations that grow by a draw: another answer to each prompt, after those there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftfast.data.generations import read_draws, write_generations
from dftfast.runtime.errors import UserError


def draws_there(path: Path, ids: Sequence[str]) -> list[list[dict]]:
    """The draws in the file, a row for each id in each; none where it is not of these ids."""
    try:
        draws = read_draws(path)
    except UserError:  # there is none, or nothing that could be read in a report
        return []
    return draws if [row["id"] for row in draws[0]] == list(ids) else []


def add_draws(path: Path, draws: Sequence[Sequence[dict]]) -> None:
    """Write the rows of these draws after those that the file has of the same ids."""
    kept = draws_there(path, [row["id"] for row in draws[0]])
    write_generations(path, [row for draw in [*kept, *draws] for row in draw])
