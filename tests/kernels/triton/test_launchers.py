"""Runs cases/*.py, each in a process of its own.

The interpreter is chosen by an environment variable that Triton reads when it is imported, and must
not leak into the tests that run beside these.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CASES = Path(__file__).parent / "cases"
OPS = sorted(path.stem for path in CASES.glob("*.py") if path.stem != "conftest")


@pytest.mark.parametrize("op", OPS)
def test_launcher(op):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(CASES / f"{op}.py"),
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
