"""Drafts on disk: one file each, written whole, and beside it the versions that were kept."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from pathlib import Path

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import write_json

ID = "[0-9a-f]{12}"
_SHOWN = 80  # characters of a draft's first words in a list


class Conflict(Exception):
    """A draft was changed by another page meanwhile; `current` is what it is now."""

    def __init__(self, current: dict):
        super().__init__("changed elsewhere")
        self.current = current


class DraftStore:
    """The drafts of a folder. Any thread may call it.

    A draft has `id`, `revision` (how often it was saved), `changed` (seconds since 1970) and what
    the page gives (`page_requests.Content`). A version has `at`, `why` and `text`; versions are
    only ever added to.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: Path):
        self.folder, self._lock = folder, threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(f"--folder: {folder} cannot be made: {error.strerror}") from error

    def list(self) -> list[dict]:
        """id, title, start and time of every draft, the latest first."""
        found = []
        for path in self.folder.glob("*.json"):
            if not re.fullmatch(ID, path.stem) or (draft := self._read(path.stem)) is None:
                continue
            start = " ".join(draft["text"][: 2 * _SHOWN].split())[:_SHOWN]
            title = " ".join(draft["brief"].get("prompt", "").split())[:_SHOWN]
            found.append({"id": path.stem, "title": title, "start": start} | _time(draft))
        return sorted(found, key=lambda each: -each["changed"])

    def new(self, content: dict) -> dict:
        return self._write(secrets.token_hex(6), 1, content)

    def get(self, identifier: str) -> dict | None:
        """The draft, or None where there is none of this id."""
        return self._read(identifier) if re.fullmatch(ID, identifier) else None

    def save(self, identifier: str, revision: int, content: dict) -> dict | None:
        """The draft as it is now; None where there is none of this id.

        Args:
            revision: the one that the page began from.

        Raises:
            Conflict: another page saved meanwhile; the text is kept as a version.
        """
        with self._lock:
            current = self.get(identifier)
            if current is None:
                return None
            if current["revision"] == revision:
                return self._write(identifier, revision + 1, content)
        if content["text"] != current["text"]:
            self.keep(identifier, "in another tab", content["text"])
        raise Conflict(current)

    def remove(self, identifier: str) -> bool:
        """Move a draft into the folder `removed`; False where there is none."""
        with self._lock:
            if self.get(identifier) is None:
                return False
            (self.folder / "removed").mkdir(exist_ok=True)
            for path in (self._path(identifier), self._versions(identifier)):
                if path.exists():
                    path.rename(self.folder / "removed" / path.name)
            return True

    def keep(self, identifier: str, why: str, text: str) -> None:
        """Add a version, unless the last one has the same text or there is no text."""
        before = self.versions(identifier)
        if not text.strip() or (before and before[-1]["text"] == text):
            return
        row = {"at": time.time(), "why": why, "text": text}
        with self._lock, open(self._versions(identifier), "a", encoding="utf-8") as file:
            # the line break comes first: what a killed process left half written ends here
            file.write("\n" + json.dumps(row, ensure_ascii=False))

    def versions(self, identifier: str) -> list[dict]:
        """Oldest first; a line that a killed process left half written is passed over."""
        path, rows = self._versions(identifier), []
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    row = json.loads(line)
                    rows.append({name: row[name] for name in ("at", "why", "text")})
                except (ValueError, KeyError, TypeError):
                    continue
        return rows

    def _write(self, identifier: str, revision: int, content: dict) -> dict:
        draft = {"id": identifier, "revision": revision, "changed": time.time(), **content}
        write_json(self._path(identifier), draft)
        return draft

    def _read(self, identifier: str) -> dict | None:
        try:
            return json.loads(self._path(identifier).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _path(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.json"

    def _versions(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.versions.jsonl"


def _time(draft: dict) -> dict:
    return {"changed": draft["changed"], "revision": draft["revision"]}
