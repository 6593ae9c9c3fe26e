"""The oracle tests again, in a process that is held to a narrower instruction set: every C++ path against fp64."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dftfast import _C

NAMES = ["scalar", "avx2", "avx512", "avx512bf16"]
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", NAMES[: NAMES.index(_C.isa())])
def test_narrower_instruction_set(name):
    environment = {**os.environ, "DFTFAST_ISA": name}
    script = f"import pytest, sys; from dftfast import _C; assert _C.isa() == {name!r}; sys.exit(pytest.main(sys.argv[1:]))"
    ops = (
        "rbf_witness",
        "linear_logprob",
        "row_ops",
        "sample_tokens",
        "packed_linear",
        "attention",
        "paged_attention",
    )
    files = [str(HERE / f"test_{op}.py") for op in ops]
    command = [
        sys.executable,
        "-c",
        script,
        "-q",
        "-p",
        "no:cacheprovider",
        *files,
        "-k",
        "oracle or special",
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
