"""The folder of a run: which stages are done, with which settings, and whole-or-nothing files."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import write_json


class RunFolder:
    """`stages.json` maps each finished stage to a digest of everything that it depended on.

    A stage whose digest is unchanged is skipped. One whose digest changed is run again, and what it
    had written is removed first, unless it differs in extent alone. `checkpoints/<stage>` lives
    until the stage is done. Used in a `with` block, for whose length it belongs to this process.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as wrong:
            raise UserError(f"run.folder: {path} cannot be made ({wrong.strerror})") from None
        self.record = self.path / "stages.json"
        self.lock = open(self.path / ".lock", "a")
        try:
            # the system lifts it when the process ends
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise UserError(
                f"run.folder: another process is at work in {path}; wait for it or name another "
                "folder"
            ) from None
        for leftover in self.path.rglob(".*.tmp"):  # what a killed process was writing
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_) -> None:
        self.lock.close()

    def stages(self) -> dict[str, str]:
        try:
            return json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise UserError(
                f"{self.record}: not readable as JSON; delete it to run every stage again"
            ) from None

    @contextmanager
    def stage(
        self, name: str, digest: str, outputs: list[str], extent: str | None = None
    ) -> Iterator[bool]:
        """Run the body as stage `name`; yields False when it is done already.

        What an unfinished run of the same stage has written is kept, what another has written is
        removed. `extent` is how far a stage goes that can go on from what one of the same digest
        and another extent has written; that is kept too.
        """
        unfinished = f"{name} (unfinished)"
        whole = digest if extent is None else f"{digest} {extent}"
        stages = self.stages()
        if stages.get(name) == whole and all((self.path / output).exists() for output in outputs):
            yield False
            return
        checkpoints = self.path / "checkpoints" / name
        before = stages.get(unfinished, "" if extent is None else stages.get(name, ""))
        if before.split(" ")[0] != digest:
            for target in (*(self.path / output for output in outputs), checkpoints):
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        stages.pop(name, None)
        write_json(self.record, stages | {unfinished: whole})
        yield True
        stages.pop(unfinished, None)
        write_json(self.record, stages | {name: whole})
        shutil.rmtree(checkpoints, ignore_errors=True)
