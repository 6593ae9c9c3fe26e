"""Figures of a run while it works, to TensorBoard, Weights & Biases or trackio."""

from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from dftfast.runtime.errors import UserError

TRACKERS = ("tensorboard", "wandb", "trackio")


class Tracker(Protocol):
    def add(self, stage: str, figures: dict[str, float], step: int) -> None: ...
    def close(self) -> None: ...


def pick_tracker(name: str) -> str | None:
    """The tracker that this setting stands for: auto is TensorBoard where it is installed.

    Raises:
        UserError: it is not installed.
    """
    there = lambda each: importlib.util.find_spec(each) is not None
    if name == "auto":
        return "tensorboard" if there("tensorboard") else None
    if name == "none":
        return None
    if not there(name):
        raise UserError(f"run.tracker: needs {name}: pip install 'dftfast[{name}]'")
    return name


def open_tracker(name: str | None, folder: Path, config: dict) -> Tracker | None:
    """A tracker that writes for the run in `folder`, whose settings are `config`."""
    if name is None:
        return None
    return _TensorBoard(folder) if name == "tensorboard" else _Service(name, folder, config)


class _TensorBoard:
    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def add(self, stage: str, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        self.writer.close()


class _Service:
    """wandb, or trackio, which has the same functions.

    A run that goes on is logged as the same one, and another in a folder of the same name as
    another. Steps are counted by each stage anew, so they are a figure of their own beside the
    service's count.
    """

    def __init__(self, name: str, folder: Path, config: dict):
        self.service = _service(name)
        project = os.environ.get(f"{name.upper()}_PROJECT", "dftfast")
        own = _own_name(folder)
        # trackio goes on with the run of that name, wandb with that of that id
        of_wandb = {"name": folder.name, "id": own, "dir": str(folder)}
        more: dict[str, Any] = of_wandb if name == "wandb" else {"name": own}
        self.service.init(project=project, config=config, resume="allow", **more)

    def add(self, stage: str, figures: dict[str, float], step: int) -> None:
        values = {f"{stage}/{name}": value for name, value in figures.items()}
        self.service.log(values | {f"{stage}/step": step})

    def close(self) -> None:
        self.service.finish()


def _own_name(folder: Path) -> str:
    """The name of the folder and a few random digits, kept in it for the next start."""
    kept = folder / ".tracked_as"
    if not kept.exists():
        kept.write_text(f"{folder.name}-{secrets.token_hex(3)}", encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _service(name: str) -> Any:
    if name == "wandb":
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb
    import trackio  # pyright: ignore[reportMissingImports]

    return trackio
