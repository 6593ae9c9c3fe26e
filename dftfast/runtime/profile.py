"""Where the time of a run goes: seconds by stage, and a torch profiler trace of one update.

Off, a stage costs the check of one variable. On, it waits for the GPU before it reads the clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGES = ("rollout", "embed", "discrepancy", "regression", "forward", "backward", "optimiser")
_current: Profile | None = None


class Profile:
    """Seconds and calls of every stage; a stage inside another is taken out of the outer one.

    Attributes:
        trace: the file that the profile of the second update (the first one warms up) is written
            to, in the format of chrome://tracing and ui.perfetto.dev.
    """

    def __init__(self, trace: Path):
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.calls = dict.fromkeys(STAGES, 0)
        self.trace, self.start, self.running, self.profiler = trace, time.perf_counter(), [], None

    def enter(self, stage: str) -> None:
        self.running.append([stage, _clock(), 0.0])

    def leave(self) -> None:
        stage, start, inside = self.running.pop()
        elapsed = _clock() - start
        self.seconds[stage] += elapsed - inside
        self.calls[stage] += 1
        if self.running:
            self.running[-1][2] += elapsed
        if stage == "optimiser" and self.calls[stage] <= 2:
            self.record_update()

    def record_update(self) -> None:
        """Start the profiler after the first update, write its trace after the second."""
        import torch

        if self.calls["optimiser"] == 1:
            self.profiler = torch.profiler.profile()
            self.profiler.start()
        elif self.profiler is not None:
            self.profiler.stop()
            self.profiler.export_chrome_trace(str(self.trace))
            self.profiler = None

    def stop(self) -> None:
        """Drop the trace of an update that did not come."""
        if self.profiler is not None:
            self.profiler.stop()

    def table(self) -> str:
        """A line a stage: seconds, share of the time since the start, calls.

        What no stage covers is `other`.
        """
        total = time.perf_counter() - self.start
        rows = [(stage, self.seconds[stage], self.calls[stage]) for stage in STAGES]
        rows += [("other", total - sum(self.seconds.values()), ""), ("total", total, "")]
        lines = [f"{'stage':<12}{'seconds':>10}{'share':>8}{'calls':>8}"]
        lines += [
            f"{name:<12}{seconds:>10.3f}{seconds / total:>8.1%}{calls:>8}"
            for name, seconds, calls in rows
        ]
        return "\n".join(lines)


@contextmanager
def profiling(folder: Path) -> Iterator[Profile]:
    """Profile the block; `folder` gets stages.txt, the table, and update.json.gz, the trace."""
    global _current
    folder.mkdir(parents=True, exist_ok=True)
    _current = Profile(folder / "update.json.gz")
    try:
        yield _current
    finally:
        _current.stop()
        (folder / "stages.txt").write_text(_current.table() + "\n", encoding="utf-8")
        _current = None


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the block, or as a decorator the function, as this one of STAGES."""
    profile = _current
    if profile is None:
        yield
        return
    profile.enter(name)
    try:
        yield
    finally:
        profile.leave()


def _clock() -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
