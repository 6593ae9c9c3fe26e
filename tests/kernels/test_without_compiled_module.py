"""`import dftfast.kernels` needs torch and numpy alone, the compiled module when it is called."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import sys

for name in (
    "dftfast._C", "triton", "tokenizers", "safetensors", "pydantic", "yaml", "transformers",
):
    sys.modules[name] = None
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, timeout=300
    )


def test_import_shapes_and_references_work_without_it():
    result = run("""
import torch

import dftfast.kernels
import dftfast.kernels.cpu_decoder
import dftfast.model.device
import dftfast.model
from dftfast.kernels.reference.swiglu import swiglu

assert swiglu(torch.ones(3, 8)).shape == (3, 4)
assert dftfast.kernels.swiglu(torch.ones(3, 8, device="meta")).shape == (3, 4)
assert dftfast.model.device.pick_device("cpu").type == "cpu"
""")
    assert result.returncode == 0, result.stderr


def test_an_operator_on_the_cpu_tells_how_to_get_it():
    result = run("""
import torch

import dftfast.kernels

try:
    dftfast.kernels.swiglu(torch.ones(3, 8))
except ImportError as error:
    print(error)
""")
    assert result.returncode == 0, result.stderr
    assert "dftfast's compiled CPU kernels are missing" in result.stdout
    assert "install a wheel, or build from source" in result.stdout
    assert "pip install ." in result.stdout
    assert "there it is pip install -e ." in result.stdout


def test_whether_the_cpu_multiplies_bfloat16_tells_so_too():
    result = run("""
import torch

from dftfast.model.device import pick_dtype

assert pick_dtype("float32", torch.device("cpu")) == torch.float32
pick_dtype(None, torch.device("cpu"))
""")
    assert "ImportError: dftfast's compiled CPU kernels are missing" in result.stderr
