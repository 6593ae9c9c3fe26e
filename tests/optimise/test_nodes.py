"""Two nodes, each with a torchrun of its own, meet over TCP: here both are this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
import torch
from families import save_random_model

from .test_distributed import ENVIRONMENT, JOBS, same_course, torchrun, trained


def on_two_nodes(*command, seconds=240):
    """A script on two nodes of one process each: exit status and last lines of each torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "-m torch.distributed.run --nnodes 2 --nproc-per-node 1 --rdzv-id test --rdzv-backend "
    start += f"c10d --rdzv-endpoint 127.0.0.1:{port} --local-addr 127.0.0.1"
    nodes = [
        subprocess.Popen(
            [sys.executable, *start.split(), *map(str, command)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        output = [node.communicate(timeout=seconds)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    return [(node.returncode, text[-6000:]) for node, text in zip(nodes, output)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_random_model("qwen3", path)
    return path


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    return trained(1, folder, tmp_path_factory.mktemp("alone") / "out", "lora")[0]


def test_two_nodes_give_what_one_gives_though_one_is_slow(folder, alone, tmp_path):
    found = {}
    for name, rests in (("even", 0), ("slow", 0.3)):
        (tmp_path / name).mkdir()
        done = on_two_nodes(JOBS, "train", 60, folder, tmp_path / name, "lora", 0, rests)
        assert [status for status, _ in done] == [0, 0], done
        found[name] = [torch.load(tmp_path / name / f"rank-{i}.pt") for i in range(2)]
    same_course(found["even"][0], alone)
    one_node = trained(2, folder, tmp_path / "one", "lora")
    for other in (*found["even"], *found["slow"]):
        for mine, theirs in zip(one_node[0]["history"], other["history"], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert other["logprobs"] == one_node[0]["logprobs"]


def test_a_node_that_is_lost_ends_the_other_and_the_run_goes_on_elsewhere(folder, alone, tmp_path):
    start = time.monotonic()
    done = on_two_nodes(JOBS, "train", 10, folder, tmp_path, "lora", 4)
    assert all(status != 0 for status, _ in done) and time.monotonic() - start < 90
    assert any("TrainingStopped" in text or "Signal 9" in text for _, text in done), done
    assert not list(tmp_path.glob("*.pt"))
    torchrun(3, JOBS, "train", 60, folder, tmp_path, "lora")
    found = torch.load(tmp_path / "rank-2.pt")
    assert found["records"][0]["step"] in (4, 5)  # rank 0 may have saved the fourth before it ended
    same_course(found, alone)
