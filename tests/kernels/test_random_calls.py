"""Registered ops with arguments that no wrapper has looked at: a result or a Python error.

Under AddressSanitizer (test_sanitizers.py) a read or write outside a tensor ends the process, too.
"""

from __future__ import annotations

import random

import pytest
import torch
from test_every_op import OPS

CALLS = 5000
DTYPES = (
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int32,
    torch.int64,
    torch.bool,
)
REFUSALS = (
    ValueError,
    TypeError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    IndexError,
    MemoryError,
)
INTEGERS = (-(2**62), -1, 0, 1, 2, 3, 4, 5, 7, 64, 70_000, 2**31 - 1, 2**31, 2**62)
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e-30, 0.5, 1.0, 3.0, 1e30)


def resized(t: torch.Tensor, pick: random.Random) -> torch.Tensor:
    """Another size in one dimension, a dimension more or less, or other strides."""
    change = pick.randrange(6)
    if change == 0:
        return t[None]
    if t.dim() == 0:
        return t
    dim = pick.randrange(t.dim())
    if change == 1:
        return t.select(dim, 0) if t.shape[dim] else t
    if change == 2:
        return t.narrow(dim, 0, pick.randrange(t.shape[dim] + 1))
    if change == 3:
        return torch.cat([t, t], dim)
    if change == 4:
        return t.transpose(dim, pick.randrange(t.dim()))
    return t.flip(dim)[..., ::2]


def revalued(t: torch.Tensor, pick: random.Random) -> torch.Tensor:
    """One entry replaced by one that indices, counts and logits should not be."""
    if not t.numel() or t.dtype == torch.bool:
        return t
    t = t.clone().contiguous()
    value = pick.choice(FLOATS) if t.is_floating_point() else pick.choice(INTEGERS)
    if not t.is_floating_point():
        value = max(min(value, torch.iinfo(t.dtype).max), torch.iinfo(t.dtype).min)
    t.view(-1)[pick.randrange(t.numel())] = value
    return t


def mutated(value, pick: random.Random):
    if isinstance(value, torch.Tensor):
        change = pick.randrange(8)
        if change == 0:
            return value.to(pick.choice(DTYPES))
        if change == 1:
            return value.to("meta")
        return resized(value, pick) if change < 5 else revalued(value, pick)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return pick.choice(INTEGERS)
    if isinstance(value, float):
        return pick.choice(FLOATS)
    if isinstance(value, list):
        return [pick.choice((*INTEGERS, *value)) for _ in range(pick.randrange(4))]
    return value


@pytest.mark.parametrize("op", OPS)
def test_random_arguments(op):
    arguments, _ = OPS[op]
    pick = random.Random(op)
    function = getattr(torch.ops.dftfast, op)
    outcomes = {"result": 0, "refused": 0}
    for _ in range(-(-CALLS // len(OPS))):
        given = [a.clone() if torch.is_tensor(a) else a for a in arguments]
        for _ in range(pick.choice((1, 1, 2, 3))):
            i = pick.randrange(len(given))
            given[i] = mutated(given[i], pick)
        try:
            function(*given)
            outcomes["result"] += 1
        except REFUSALS:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0, outcomes
