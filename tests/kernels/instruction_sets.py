"""The instruction sets that the C++ kernels are compiled for, and those that this processor has."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

NAMES = ["scalar", "avx2", "avx512", "avx512bf16", "amx"]  # each has what those before it have
NAME_IT = "from dftfast import _C; print(_C.isa())"


def chosen(asked: str) -> subprocess.CompletedProcess[str]:
    """A process with DFTFAST_ISA=asked, which prints the instruction set that it then uses."""
    environment = {**os.environ, "DFTFAST_ISA": asked}
    command = [sys.executable, "-c", NAME_IT]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@functools.cache
def supported() -> list[str]:
    """Those of this processor, narrowest first, whatever DFTFAST_ISA is here.

    The widest is not always the one in use: on Intel's processors without AMX that is
    avx512, bf16 or not.
    """
    widest = chosen(NAMES[-1])
    assert widest.returncode == 0, widest.stderr
    return NAMES[: NAMES.index(widest.stdout.strip()) + 1]
