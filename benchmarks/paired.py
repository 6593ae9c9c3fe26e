"""Timing two callables side by side, so that a slow moment of the machine falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def seconds(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(calls: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of each call over interleaved rounds, after one warm-up of each."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: statistics.median(values) for name, values in times.items()}


def record(benchmark, calls: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Run the first call under pytest-benchmark, and all of them in turn.

    `extra_info` gets the median milliseconds of every call and, for every other call, how many
    times as long as the first it takes (above 1: the first is faster).
    """
    first = next(iter(calls))
    medians = compare(calls, rounds)
    for name, median in medians.items():
        benchmark.extra_info[f"{name}_ms"] = round(1e3 * median, 3)
        if name != first:
            benchmark.extra_info[f"{name}/{first}"] = round(median / medians[first], 3)
    benchmark.pedantic(calls[first], rounds=1, iterations=1)
    return medians
