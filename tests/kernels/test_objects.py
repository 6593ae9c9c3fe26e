"""What the compiled files leave for the linker, and what happens where memory runs out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "csrc").glob("*_avx*.cpp")) + sorted((ROOT / "csrc").glob("*_amx.cpp"))


def flags() -> dict[str, str]:
    """Compiler flags of each instruction set, as CMakeLists.txt has them."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    known: dict[str, str] = {}
    for name, value in re.findall(r"^set\((\w+)_flags (.*)\)$", text, re.MULTILINE):
        known[name] = re.sub(r"\$\{(\w+)_flags\}", lambda m: known[m[1]], value)
    return known


@pytest.mark.skipif(
    not shutil.which("g++") or not shutil.which("nm") or not flags(), reason="needs g++ and nm"
)
def test_files_of_one_instruction_set_hold_nothing_that_others_share(tmp_path):
    """A weak symbol outside their namespace could run on a processor that lacks the instructions.

    The linker keeps one copy of an inline function for all files.
    """

    def foreign(source: Path) -> list[str]:
        isa = source.stem.rsplit("_", 1)[1]
        target = tmp_path / f"{source.stem}.o"
        command = ["g++", "-std=c++17", "-O3", "-fPIC", "-fopenmp", *flags()[isa].split()]
        subprocess.run([*command, "-c", source, "-o", target], check=True)
        listed = subprocess.run(
            ["nm", "-C", "--defined-only", target], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        weak = [line.split(maxsplit=2)[2] for line in listed if line.split()[1] in "WuVw"]
        return [
            f"{source.name}: {name}"
            for name in weak
            if f"dftfast::{isa}::" not in name and not name.startswith("DW.ref.")
        ]

    assert SOURCES
    with ThreadPoolExecutor(2) as pool:
        assert not [name for names in pool.map(foreign, SOURCES) for name in names]


OUT_OF_MEMORY = """
import resource, torch
from dftfast.kernels import sample_tokens
torch.set_num_threads(2)
rows, vocab = 2, 20_000_000
logits = torch.zeros(rows, vocab)
settings = [torch.ones(rows, dtype=d) for d in [torch.float32, torch.int32, *2 * [torch.float32],
                                                *3 * [torch.int64]]]
sample_tokens(logits[:, :100], *settings)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))  # it takes 800 MB
try:
    sample_tokens(logits, *settings)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_running_out_of_memory_is_an_error_not_the_end():
    run = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True)
    assert run.stdout.strip() == "refused", run.stderr
