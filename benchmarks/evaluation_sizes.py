"""Seconds and gigabytes of every part of an evaluation, at the sizes that have limits.

    python benchmarks/evaluation_sizes.py                # both sizes, one after the other
    python benchmarks/evaluation_sizes.py 2000 1000      # texts a set, rounds

A set of outputs beside as many human texts of 300 words, with embeddings already made. Of larger
sets as many are measured as `dftfast evaluate` draws without --limit. A part's peak is the most
memory that the process held while it ran. `wall` above `cpu` says that the machine was busy, and
`cpu` that grew from one run to the next that threads waited for each other: measure again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from test_evaluation import corpus

from dftfast.evaluation import Reference, distances, suite, wording
from dftfast.evaluation.matching import MOST
from dftfast.evaluation.outcome import find
from dftfast.evaluation.report import ReportContext, write_report

LIMITS = {(2000, 1000): (60, 3), (20_000, 200): (900, 8)}  # texts and rounds: seconds, GB
PARTS = (
    *((distances, f"{kind}_mmd") for kind in ("embedding", "style", "character")),
    *((distances, name) for name in ("token_distances", "frechet", "c2st", "glyph_c2st")),
    *((wording, name) for name in ("single_texts", "reference_overlap", "repetition")),
)


class Table:
    """A line for each part as it ends, and the whole."""

    def __init__(self):
        self.peak, self.began = 0.0, time.perf_counter()
        print(f"{'part':<20}{'wall s':>9}{'cpu s':>9}{'peak GB':>9}", flush=True)

    def timed(self, name, work):
        """`work` that adds its line."""

        def run(*arguments, **options):
            reset_peak()
            start = time.perf_counter(), time.process_time()
            result = work(*arguments, **options)
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            self.peak = max(self.peak, peak_gb())
            print(f"{name:<20}{wall:>9.1f}{cpu:>9.1f}{peak_gb():>9.2f}", flush=True)
            return result

        return run


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_gb() -> float:
    """The most memory held since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) / 2**20


def measure(texts: int, rounds: int) -> None:
    used = min(texts, MOST)
    outputs, human = corpus(0, used), corpus(1, used)
    for each, seed in ((outputs, 2), (human, 3)):
        random = np.random.default_rng(seed).normal(size=(used, 256))
        each.unseen_embeddings = random.astype(np.float32)
    drawn = "" if used == texts else f"; of each {used:,} are drawn, as the command does"
    print(f"{texts:,} texts beside {texts:,}, {rounds:,} rounds{drawn}")
    table = Table()
    for module, name in PARTS:  # the suite looks them up when it runs
        setattr(module, name, table.timed(name, getattr(module, name)))
    reference = table.timed("reference", Reference)(human, rounds=rounds)
    results = {"outputs": suite.evaluate(outputs, reference)}
    sets = {"human": human, "outputs": outputs}
    findings = table.timed("phrases and style", find)(results, sets, reference)
    with tempfile.TemporaryDirectory() as folder:
        context = ReportContext(reference, findings=findings)
        table.timed("report", write_report)(Path(folder), results, sets, context=context)
    took = time.perf_counter() - table.began
    limit = LIMITS.get((texts, rounds))
    bar = f"   (limit {limit[0]} s, {limit[1]} GB)" if limit else ""
    print(f"{'all':<20}{took:>9.1f}{'':>9}{table.peak:>9.2f}{bar}\n", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(int(sys.argv[1]), int(sys.argv[2]))
    else:
        for size in LIMITS:
            subprocess.run([sys.executable, __file__, *map(str, size)], check=True)
