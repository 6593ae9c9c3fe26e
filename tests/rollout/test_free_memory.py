"""The cache is sized by what the process may take, not by what the machine has."""

from __future__ import annotations

import resource
import subprocess
import sys

import torch

from dftfast.rollout.free_memory import _groups, free_memory

MIB = 2**20


def group(folder, names, limit, used, cache):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 7\n{cache[0]} {cache[1]}\n")


SECOND = ("memory.max", "memory.current")
FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_the_least_of_nested_groups_of_version_2(tmp_path):
    root = tmp_path / "cgroup"
    group(root / "pod", SECOND, 1536 * MIB, 500 * MIB, ("inactive_file", 100 * MIB))
    group(root / "pod" / "job", SECOND, "max", 400 * MIB, ("inactive_file", 0))
    (tmp_path / "self").write_text("0::/pod/job\n")
    assert list(_groups(tmp_path / "self", root)) == [1136 * MIB]


def test_a_container_of_version_1_that_sees_its_own_root(tmp_path):
    root = tmp_path / "cgroup"
    cache = ("total_inactive_file", 16 * MIB)
    group(root / "memory", FIRST, 1024 * MIB, 300 * MIB, cache)
    (tmp_path / "self").write_text("4:memory:/docker/0a1b\n3:cpuset:/\n0::/\n")
    assert list(_groups(tmp_path / "self", root)) == [740 * MIB]
    group(root / "memory", FIRST, 9223372036854771712, 300 * MIB, cache)  # no limit
    assert list(_groups(tmp_path / "self", root)) == []


def test_no_groups_at_all(tmp_path):
    assert list(_groups(tmp_path / "absent", tmp_path)) == []


def test_the_limit_of_the_address_space_counts():
    script = (
        "import resource, torch\n"
        "from dftfast.rollout.free_memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, resource.RLIM_INFINITY))\n"
        "print(free_memory(torch.device('cpu')))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0 < int(out.stdout) < 3 << 30


def test_it_is_no_more_than_the_machine_has():
    pages = resource.getpagesize() * __import__("os").sysconf("SC_PHYS_PAGES")
    assert 0 < free_memory(torch.device("cpu")) <= pages
