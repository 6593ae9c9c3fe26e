"""The oracle tests again, in processes held to the other instruction sets of this processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from instruction_sets import NAMES, chosen, supported

from dftfast import _C

HERE = Path(__file__).parent
OPS = (
    "adapters_on_tiles",
    "rbf_witness",
    "linear_logprob",
    "row_ops",
    "sample_tokens",
    "packed_linear",
    "attention",
    "paged_attention",
)
SCRIPT = """
import sys
import pytest
from dftfast import _C
assert _C.isa() == sys.argv[1]
sys.exit(pytest.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", [name for name in supported() if name != _C.isa()])
def test_another_instruction_set(name):
    environment = {**os.environ, "DFTFAST_ISA": name}
    files = [str(HERE / f"test_{op}.py") for op in OPS]
    options = ["-q", "-p", "no:cacheprovider", "-k", "oracle or special"]
    command = [sys.executable, "-c", SCRIPT, name, *files, *options]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("asked", NAMES)
def test_asked_for(asked):
    """The set asked for, or the widest where the processor lacks that."""
    expected = asked if asked in supported() else supported()[-1]
    assert chosen(asked).stdout.strip() == expected


def test_not_asked_for():
    assert chosen("").stdout.strip() in supported()


def test_unknown_name():
    result = chosen("sse9")
    assert result.returncode != 0
    assert "DFTFAST_ISA=sse9 is not one of scalar, avx2, avx512, avx512bf16, amx" in result.stderr


@pytest.mark.parametrize("name", ["scalar", "avx2", "avx512"])
def test_weights_are_float32_where_the_instructions_held_to_multiply_no_bfloat16(name):
    script = "from dftfast import _C; print(_C.isa(), _C.fast_bf16())"
    environment = {**os.environ, "DFTFAST_ISA": name}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert run.stdout.split()[1] == b"False"
