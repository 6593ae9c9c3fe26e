"""Answers kept on disk: the same question is paid for once, and an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(*parts: object) -> str:
    """Name of a question: a hash of all that its answer depends on (JSON values)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class AnswerCache:
    """One JSON object a line, {"key", "answer"}, each written out as soon as it is known.

    The file holds hashes of questions, never the questions; a line that a crash cut short is not
    read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._answers: dict[str, object] = {}
        for line in self._lines():
            try:
                row = json.loads(line)
                self._answers[row["key"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue
        self._file = None

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def get(self, key: str) -> Any:
        """The answer, a JSON value; None where there is none."""
        return self._answers.get(key)

    def put(self, key: str, answer: object) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            cut = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
            self._file = open(self.path, "a", encoding="utf-8")
            self._file.write("\n" if cut else "")
        self._answers[key] = answer
        self._file.write(json.dumps({"key": key, "answer": answer}) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def delete(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
