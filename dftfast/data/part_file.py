"""Rows of a file that is not finished yet, kept beside it as they come."""

from __future__ import annotations

import json
from pathlib import Path

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import digest


class PartFile:
    """`.NAME.part` beside a file of generations: a line that says what the rows are of, then rows.

    A row is on disk as soon as it is added, so that a process that ends at any moment loses none;
    half a line at the end, of one that was killed while it wrote, is dropped.

    Args:
        out: the file that the rows will be.
        settings: everything that the rows depend on, as JSON can hold it.

    Raises:
        UserError: rows of other settings are there.
    """

    def __init__(self, out: Path, settings: dict):
        self.out, self.path = out, part_of(out)
        self.rows: dict[tuple[str, int], dict] = {}
        head = {"rows_of": digest(settings)}
        if self.path.exists():
            self._read(head)
        else:
            self.path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        self._file = open(self.path, "a", encoding="utf-8")

    def _read(self, head: dict) -> None:
        kept = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                kept.append(json.loads(line))
            except ValueError:
                break
        if not kept or kept[0] != head:
            raise UserError(
                f"--out: {self.path} holds texts of other options or prompts, unfinished; repeat "
                "that command to go on with them, name another file, or give --overwrite"
            )
        self.rows = {(row["id"], row.get("sample", 0)): row for row in kept[1:]}
        whole = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        self.path.write_text(whole, encoding="utf-8")

    def add(self, row: dict) -> None:
        """Keep a row; it is on disk when this returns."""
        self.rows[row["id"], row.get("sample", 0)] = row
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Leave the rows where they are, for the next start."""
        self._file.close()

    def delete(self) -> None:
        """Remove the file: its rows are where they belong."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def part_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.part")
