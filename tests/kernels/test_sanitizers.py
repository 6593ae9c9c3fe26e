"""The C++ kernels under AddressSanitizer and UndefinedBehaviorSanitizer, for every instruction set.

The sources are built a second time, with the sanitizers, into a temporary folder, and that module
stands in for `dftfast._C` while the kernels' own tests run: every read or write outside a tensor,
and every undefined operation, ends the process. The tiles of AMX are modelled in memory, so that
what is written for them is tested on every processor that has AVX-512.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from instruction_sets import supported

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ISAS = supported()
if ISAS[-1] in ("avx512", "avx512bf16"):
    ISAS = [*ISAS, "amx"]  # the build models the tiles, also for processors that have them
OPS = (
    "adapters_on_tiles",
    "contracts",
    "random_calls",
    "attention",
    "linear_logprob",
    "ngram",
    "packed_linear",
    "paged_attention",
    "rbf_witness",
    "row_ops",
    "sample_tokens",
)
FILES = [
    *(HERE / f"test_{op}.py" for op in OPS),
    ROOT / "tests" / "rollout" / "test_cpu_decoder.py",
]
# What is not about C++, or starts processes of its own.
LEFT_OUT = "compile or gradcheck or instruction_set"

LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("dftfast._C", sys.argv[1])
sys.modules["dftfast._C"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module.isa() == sys.argv[2]
"""
TESTS = "import pytest; sys.exit(pytest.main(sys.argv[3:]))"
ONE_ROW_TOO_MANY = """
import torch
x, y = torch.ones(3, 128), torch.empty(3, 64)
gate = x.data_ptr()
module.swiglu(0, gate, gate + 4 * 64, y.data_ptr(), 4, 64, 128, 1)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("g++"),
        reason="needs g++ and its sanitizers, on Linux",
    ),
]


def runtime(name: str) -> str:
    return subprocess.check_output(["g++", f"-print-file-name={name}.so"], text=True).strip()


@pytest.fixture(scope="module")
def module(tmp_path_factory) -> Path:
    """The extension module, built with the sanitizers."""
    folder = tmp_path_factory.mktemp("sanitized")
    flags = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)]
    options = {
        "build-dir": folder / "build",
        "cmake.build-type": "None",
        "cmake.define.DFTFAST_MODEL_TILES": "ON",
        "cmake.define.CMAKE_CXX_FLAGS": flags,
    }
    for key, value in options.items():
        command += ["-C", f"{key}={value}"]
    built = subprocess.run(
        command, env={**os.environ, "CXX": "g++"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (
            name
            for name in archive.namelist()
            if name.startswith("dftfast/_C") and name.endswith(".so")
        )
        return Path(archive.extract(name, folder))


def run(script: str, module: Path, isa: str, *arguments) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "DFTFAST_ISA": isa,
        "LD_PRELOAD": f"{runtime('libasan')}:{runtime('libubsan')}",
        # The interpreter never frees all it took, and torch may free with another allocator than
        # it took from.
        "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, "-c", LOAD + script, module, isa, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("isa", ISAS)
def test_kernels_under_sanitizers(module, isa):
    result = run(
        TESTS, module, isa, "-q", "-p", "no:cacheprovider", *FILES, "-k", f"not ({LEFT_OUT})"
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-20_000:]


def test_a_row_too_many_is_caught(module):
    result = run(ONE_ROW_TOO_MANY, module, ISAS[-1])
    assert result.returncode != 0 and "heap-buffer-overflow" in result.stderr, result.stderr
