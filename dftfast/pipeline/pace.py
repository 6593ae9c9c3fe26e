"""How long the stages that are left will take, from what the finished ones took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dftfast.runtime.files import write_json

A_CREDIT = 0.4  # of the time to train on a text: what its gradient and witnesses take


class Work(NamedTuple):
    """Texts that a stage trains on, samples and credits, each repetition counted."""

    trained: float = 0
    sampled: float = 0
    credited: float = 0

    def seconds(self, trained: float, sampled: float) -> float:
        """For these seconds of a trained and of a sampled text."""
        return (self.trained + A_CREDIT * self.credited) * trained + self.sampled * sampled


class Pace:
    """Seconds that finished stages took, kept in the run folder so that a second start knows them.

    The first stage trains and does not sample, the second samples and does not train: together
    they give the seconds of a trained and of a sampled text, and so those of every later stage.
    """

    def __init__(self, folder: Path):
        self.file = folder / "timings.json"
        try:
            self.seconds: dict[str, float] = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.seconds = {}

    def finished(self, stage: str, seconds: float) -> None:
        """Note what a stage took; of one that was stopped, what its last part took."""
        self.seconds[stage] = seconds
        write_json(self.file, self.seconds)

    def left(self, stages: Sequence[str], work: dict[str, Work]) -> float | None:
        """Seconds that these stages will take; None before both rates are known."""
        if not {"sft", "sweep"} <= set(self.seconds):
            return None
        trained = self.seconds["sft"] / max(work["sft"].trained, 1)
        sampled = self.seconds["sweep"] / max(work["sweep"].sampled, 1)
        return sum(work.get(stage, Work()).seconds(trained, sampled) for stage in stages)


def minutes_text(seconds: float) -> str:
    """A duration as a person says it: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
