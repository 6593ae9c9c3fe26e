"""Data parallel over the processes that torchrun starts.

Every process runs the same program on its own device and comes to the same meetings (the functions
below) in the same order. Without torchrun there is one process, which never meets anyone. Files,
logs and progress are rank 0's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn

from dftfast.model.device import pick_device
from dftfast.runtime import signals
from dftfast.runtime.errors import Interrupted, TrainingStopped, UserError

T = TypeVar("T")
# gloo, beside NCCL: for what is not a gradient, and to find who is missing.
_messages: dist.ProcessGroup | None = None
_timeout = timedelta(seconds=600)


@contextmanager
def process_group(seconds: float) -> Iterator[None]:
    """Within the block the processes of this torchrun work together.

    So do those of a launcher that has set torch's default group up, which is left as it is.

    Args:
        seconds: how long a process waits at a meeting for the others before it stops with
            TrainingStopped.
    """
    global _messages, _timeout
    own = not dist.is_initialized()
    if own and not dist.is_torchelastic_launched():
        yield
        return
    _timeout = timedelta(seconds=seconds)
    if own:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_timeout)
    _messages = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_timeout))
    if rank():
        logging.getLogger("dftfast").setLevel(logging.ERROR)
    try:
        yield
    finally:
        _messages = None
        if own:
            dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if _messages else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if _messages else 1


def pick_own_device(name: str | None) -> torch.device:
    """`pick_device`, and where there are several processes each one's own GPU."""
    device = pick_device(name)
    if world_size() == 1 or device.type == "cpu":
        return device
    if device.index is not None:
        raise UserError(
            f"model.device: {name} is one device and torchrun started {world_size()} processes; "
            "name cuda"
        )
    local_rank = dist.get_node_local_rank()  # pyright: ignore[reportPrivateImportUsage]
    device = pick_device(f"cuda:{local_rank}")
    torch.cuda.set_device(device)
    return device


def on_rank0(work: Callable[[], T]) -> T:
    """`work()` on rank 0 alone; every rank gets the result.

    When it fails there, the others end without a word.
    """
    if world_size() == 1:
        return work()
    outcome: list[Any] = [None, None]  # the result, the name of the error
    if rank() == 0:
        try:
            outcome[0] = work()
        except BaseException as wrong:
            outcome[1] = type(wrong).__name__
            with _barrier():
                dist.broadcast_object_list(outcome, 0, _messages)
            raise
    with _barrier():
        dist.broadcast_object_list(outcome, 0, _messages)
    if outcome[1]:
        raise SystemExit(1)
    return outcome[0]


def rank0_first(work: Callable[[], T]) -> T:
    """`work()` on every rank, on rank 0 before the others.

    It is for what tidies files up while it reads them.
    """
    if rank():
        any_rank(False)
        return work()
    result = work()
    any_rank(False)
    return result


def all_gather(value: T) -> list[T]:
    """Every rank's value, on every rank. Tensors should be on the CPU."""
    if world_size() == 1:
        return [value]
    values: list = [None] * world_size()
    with _barrier():
        dist.all_gather_object(values, value, _messages)
    return values


def map_over_ranks(
    work: Callable[[list], Sequence[T]], items: Sequence, sizes: Sequence[int] | None = None
) -> list[T]:
    """`work(items)`, one result for each item, with the items shared out over the ranks by size.

    Without sizes all count as equal. Every rank gives the same items and gets all results.
    """
    if world_size() == 1:
        return list(work(list(items)))
    parts = balanced_parts(sizes or [1] * len(items), world_size())
    results: list = [None] * len(items)
    own = list(work([items[i] for i in parts[rank()]]))
    for part, part_results in zip(parts, all_gather(own)):
        for i, result in zip(part, part_results, strict=True):
            results[i] = result
    return results


def shard(items: Sequence[T], sizes: Sequence[int]) -> list[T]:
    """This rank's share of the items."""
    return [items[i] for i in balanced_parts(sizes, world_size())[rank()]]


def balanced_parts(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Indices in `count` parts of about equal total size.

    The largest goes first, each to the lightest part so far.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    totals = [0] * count
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        lightest = totals.index(min(totals))
        parts[lightest].append(i)
        totals[lightest] += sizes[i]
    return [sorted(part) for part in parts]


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    return any(all_gather(flag))


@torch.no_grad()
def all_reduce_gradients(parameters: Sequence[nn.Parameter], value: float) -> float:
    """Replace every gradient by its sum over the ranks; the value's sum is returned.

    The sums are bit for bit the same on all ranks. One all-reduce in fp32; a gradient that a rank
    does not have counts as zero there.
    """
    if world_size() == 1:
        return value
    device = parameters[0].device
    parts = [
        torch.zeros(p.numel(), device=device) if p.grad is None else p.grad.float().flatten()
        for p in parameters
    ]
    flat = torch.cat([*parts, torch.tensor([value], device=device)])
    del parts
    with _barrier():
        dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)
    return float(flat[-1])


@contextmanager
def _barrier() -> Iterator[None]:
    """Wait until every rank is here, then do the block.

    A rank that has ended or does not come is named.
    """
    try:
        dist.monitored_barrier(_messages, _timeout, wait_all_ranks=True)
        yield
    except RuntimeError as wrong:
        if signals.requested():
            raise Interrupted from wrong
        named = re.search(r"Ranks? ([\d, ]+) failed to pass", str(wrong))
        unnamed = (
            "rank 0 (or one that rank 0 names)"
            if rank()
            else "another rank (torchrun's last lines name it)"
        )
        missing = f"rank {named[1]}" if named else unnamed
        limit = f"{_timeout.total_seconds():g} s (run.rank_timeout)"
        raise TrainingStopped(
            f"rank {rank()}: {missing} has ended, or was not heard of for {limit}"
        ) from wrong
