"""How much memory this process may still take: the machine's, its container's and its own limit."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

NO_LIMIT = 1 << 60  # cgroups write a number beyond any memory where there is none


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated now on the device.

    On a CPU it is the least of what the machine has available, what the control groups of the
    process (a container's limit is one) leave, and what its address space may still grow by.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(min([_machine(), *_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]), 0)


def _machine() -> int:
    """MemAvailable of /proc/meminfo, and the rest of RLIMIT_AS."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        free = available * 1024
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit -= pages * resource.getpagesize()
        except OSError:
            pass
        free = min(free, limit)
    return free


def _groups(membership: Path, root: Path) -> Iterator[int]:
    """What each control group that the process is in, and each above it, leaves.

    Version 2 is one tree; version 1 has one for memory. Inside a container the tree often begins
    at the container, so that the path in `membership` is not there: then its root is looked at.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        tree = root if controllers == "" else root / "memory"
        group = tree / path.strip("/")
        for folder in [group, *group.parents]:
            left = _left(folder, controllers == "")
            if left is not None:
                yield left
            if folder == tree:
                break


def _left(folder: Path, second: bool) -> int | None:
    """Bytes that a control group leaves; None where it has no limit.

    Pages of files that nobody uses are given back when memory runs short, so they are not counted
    as taken.
    """
    names = ("memory.max", "memory.current") if second else ("limit_in_bytes", "usage_in_bytes")
    prefix = "" if second else "memory."
    try:
        limit, used = ((folder / (prefix + name)).read_text().strip() for name in names)
        if limit == "max" or int(limit) >= NO_LIMIT:
            return None
        stat = (folder / "memory.stat").read_text().split()
        cache = dict(zip(stat[::2], stat[1::2]))
        reclaimed = cache.get("inactive_file" if second else "total_inactive_file", "0")
        return int(limit) - int(used) + int(reclaimed)
    except (OSError, ValueError):
        return None
