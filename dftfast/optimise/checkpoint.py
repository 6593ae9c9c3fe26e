"""Checkpoints of a training loop: whole, checksummed, rotated, written while the loop goes on.

Randomness is counter-based and batches are a function of (seed, epoch), so the state of a loop is
small: tensors (parameters and moments), a step, and a few numbers. A checkpoint is a folder
`step-N` of `state.safetensors`, `state.json` and `SHA256SUMS` (which `sha256sum -c` reads). What is
trained is whole on every process, so any number of processes goes on from it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dftfast.model.weights import save_tensors
from dftfast.runtime.errors import TrainingStopped
from dftfast.runtime.files import atomic_folder

log = logging.getLogger(__name__)

KEEP = 2
LARGEST_SHARE = 0.05  # of the run's time that may go into checkpoints


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, Tensor]
    state: dict


class Checkpoints:
    """The checkpoints of one loop, in a folder of their own.

    Args:
        seconds: save that often, or less often where saving would take more than LARGEST_SHARE of
            the time.
        steps: save after every so many steps instead.
    """

    def __init__(self, folder: str | Path, seconds: float = 60.0, steps: int | None = None):
        self.folder, self.seconds, self.steps = Path(folder), seconds, steps
        self.inputs = ""
        self.saved_at, self.cost = time.monotonic(), 0.0
        self.writer: threading.Thread | None = None
        self.failure: Exception | None = None

    def load(self, inputs: str) -> Checkpoint | None:
        """The newest intact checkpoint of a loop with these `inputs`.

        `inputs` is a digest of everything that the loop depends on. Damaged ones are reported, and
        removed like those of other inputs.
        """
        self.inputs = inputs
        for folder in reversed(self._folders()):
            try:
                tensors, state = read_state(folder)
            except (OSError, ValueError, SafetensorError) as wrong:
                log.warning(
                    "checkpoint %s is damaged (%s): going back to the one before", folder, wrong
                )
                shutil.rmtree(folder)
                continue
            if state.pop("inputs", None) == self.inputs:
                step = int(folder.name.removeprefix("step-"))
                log.info("continuing from %s", folder)
                return Checkpoint(step, tensors, state)
            shutil.rmtree(folder)
        return None

    def offer(
        self, step: int, tensors: Callable[[], dict[str, Tensor]], state: dict, now: bool = False
    ) -> None:
        """Save the loop's state after `step` if it is time.

        `now` saves in any case and waits for the disk.

        Only the copy to ordinary memory holds the loop up. Raises TrainingStopped when the last
        save failed.
        """
        if now or self._due(step):
            start = time.monotonic()
            self.wait()
            copies = {
                name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors().items()
            }
            self.saved_at = time.monotonic()
            self.cost = self.saved_at - start
            arguments = (step, copies, {**state, "inputs": self.inputs})
            self.writer = threading.Thread(target=self._write, args=arguments, name="checkpoint")
            self.writer.start()
        if now:
            self.wait()
        self._raise_failure()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self.writer is not None:
            self.writer.join()
            self.writer = None
        self._raise_failure()

    def _due(self, step: int) -> bool:
        if self.steps is not None:
            return step % self.steps == 0
        idle = self.writer is None or not self.writer.is_alive()
        return idle and time.monotonic() - self.saved_at >= max(
            self.seconds, self.cost / LARGEST_SHARE
        )

    def _write(self, step: int, tensors: dict[str, Tensor], state: dict) -> None:
        start = time.monotonic()
        try:
            write_state(self.folder / f"step-{step:08d}", tensors, state)
            for folder in self._folders()[:-KEEP]:
                shutil.rmtree(folder)
        except Exception as wrong:  # handed to the loop's thread
            self.failure = wrong
        self.cost += time.monotonic() - start

    def _raise_failure(self) -> None:
        if self.failure is not None:
            wrong, self.failure = self.failure, None
            kept = [folder.name for folder in self._folders()]
            intact = (
                f"{kept[-1]} is intact and the same command goes on from it"
                if kept
                else "there is none before it"
            )
            raise TrainingStopped(
                f"a checkpoint could not be written to {self.folder} ({wrong}); {intact}"
            ) from wrong

    def _folders(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-*"))


def write_state(folder: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Tensors and JSON-able values as a folder that appears only when it is whole."""
    with atomic_folder(folder) as partial:
        save_tensors(tensors, partial / "state.safetensors")
        (partial / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
        names = ("state.safetensors", "state.json")
        sums = "".join(f"{sha256(partial / name)}  {name}\n" for name in names)
        (partial / "SHA256SUMS").write_text(sums, encoding="ascii")


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """What `write_state` wrote.

    Raises:
        OSError, ValueError, SafetensorError: it is not exactly that.
    """
    sums = dict(
        line.split("  ")[::-1]
        for line in (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    )
    for name in ("state.safetensors", "state.json"):
        if sums.get(name) != sha256(folder / name):
            raise ValueError(f"the checksum of {name} is wrong")
    return load_file(folder / "state.safetensors"), json.loads(
        (folder / "state.json").read_text(encoding="utf-8")
    )


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
