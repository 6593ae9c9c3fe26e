"""A run's memory is found again where it was given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from dftfast import _C
kept = _C.keep_heap(int(sys.argv[1]))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 25).sum()  # 128 MiB, given back at once
before = faults()
torch.ones(1 << 25).sum()
print(kept, faults() - before)
"""


def outcome(room: int) -> tuple[bool, int]:
    command = [sys.executable, "-c", SCRIPT, str(room)]
    kept, faults = subprocess.check_output(command, text=True).split()
    return kept == "True", int(faults)


def test_memory_that_was_given_back_is_not_cleared_again():
    kept, faults = outcome(1 << 30)
    if not kept:
        pytest.skip("the system has no huge pages to ask for")
    assert faults < 100 < outcome(0)[1]  # of 32,768 pages


def test_more_than_there_is_changes_nothing():
    kept, _ = outcome(1 << 60)
    assert not kept
