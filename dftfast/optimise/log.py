"""What a run writes while it works: log.jsonl, figures to a tracker and a progress bar."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from dftfast.optimise.distributed import rank
from dftfast.optimise.tracker import open_tracker


class RunLog:
    """One JSON object a line in `folder/log.jsonl`; numbers also go to a tracker if one is named.

    Only rank 0 writes.
    """

    def __init__(self, folder: Path, tracker: str | None = None, config: dict | None = None):
        self.file = open(
            os.devnull if rank() else folder / "log.jsonl", "a", encoding="utf-8", buffering=1
        )
        self.tracker = None if rank() else open_tracker(tracker, folder, config or {})

    def write(self, stage: str, record: dict, step: int = 0) -> None:
        line = {"time": round(time.time(), 3), "stage": stage, **record}
        self.file.write(json.dumps(line, default=float) + "\n")
        if self.tracker is not None:
            number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
            figures = {name: value for name, value in record.items() if number(value)}
            self.tracker.add(stage, figures, step)

    def steps(self, stage: str) -> Callable[[dict], None]:
        """A callback for `fit` that logs every step under `stage` and moves a progress bar."""
        bar = tqdm(desc=stage, unit="step", dynamic_ncols=True, disable=rank() > 0)

        def step(record: dict) -> None:
            bar.total = record["steps"]
            bar.set_postfix_str(
                f"loss {record['loss']:.3f}, {record['tokens_per_second']:,.0f} tokens/s",
                refresh=False,
            )
            bar.update(record["step"] - bar.n)  # a continued run begins further on
            self.write(stage, record, record["step"])
            if record["step"] == record["steps"]:
                bar.close()

        return step

    def close(self) -> None:
        self.file.close()
        if self.tracker is not None:
            self.tracker.close()


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a rollout: the callback takes (finished, all)."""
    with tqdm(desc=label, unit="text", dynamic_ncols=True, disable=rank() > 0) as bar:

        def progress(finished: int, total: int) -> None:
            bar.total = total
            bar.update(finished - bar.n)

        yield progress
