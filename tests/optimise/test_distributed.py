"""Several gloo processes give what one process gives, and none of them waits for ever."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from families import save_random_model
from safetensors.torch import load_file

from dftfast.optimise.distributed import (
    all_gather,
    balanced_parts,
    map_over_ranks,
    on_rank0,
    rank,
    world_size,
)

JOBS = Path(__file__).with_name("distributed_jobs.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(processes, *command, check=True):
    """Run a script on this many processes of this machine."""
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    done = subprocess.run(
        [*start, *map(str, command)], env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert not check or done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_random_model("qwen3", path)
    return path


def trained(processes, folder, out, method):
    out.mkdir()
    if processes == 1:
        subprocess.run(
            [sys.executable, JOBS, "train", "60", folder, out, method], env=ENVIRONMENT, check=True
        )
    else:
        torchrun(processes, JOBS, "train", 60, folder, out, method)
    return [torch.load(out / f"rank-{i}.pt") for i in range(processes)]


@pytest.mark.parametrize("method, counts", [("lora", (2, 3)), ("full", (2,))])
def test_training_is_the_same_on_any_number_of_processes(folder, tmp_path, method, counts):
    (alone,) = trained(1, folder, tmp_path / "1", method)
    assert (
        len(alone["records"]) >= 6 and alone["records"][-1]["loss"] != alone["records"][0]["loss"]
    )
    for count in counts:
        ranks = trained(count, folder, tmp_path / str(count), method)
        for other in ranks[1:]:
            for mine, theirs in zip(ranks[0]["history"], other["history"], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(mine, theirs))
            assert other["logprobs"] == ranks[0]["logprobs"]
        for mine, theirs in zip(alone["history"][0], ranks[0]["history"][0], strict=True):
            # by their norm: Adam's first step divides a gradient by its own size, so one that is
            # all rounding moves too
            assert (theirs - mine).norm() < 1e-4 * mine.norm()
        same_course(ranks[0], alone)


def same_course(found, alone):
    """To floating-point order, from the step at which `found` began to the last."""
    steps = len(found["records"])
    for mine, theirs in zip(alone["records"][-steps:], found["records"], strict=True):
        assert (
            mine["tokens"] == theirs["tokens"] and mine["learning_rate"] == theirs["learning_rate"]
        )
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=2e-4)
        assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=2e-3)
    moved = torch.cat([p.flatten() for p in alone["history"][-1]])
    gap = torch.cat([p.flatten() for p in found["history"][-1]]) - moved
    assert gap.norm() < 1e-3 * moved.norm()
    logprobs = [
        torch.tensor([value for part in each["logprobs"] for value in part])
        for each in (alone, found)
    ]
    torch.testing.assert_close(*logprobs, rtol=1e-2, atol=1e-2)


def test_what_a_lost_rank_leaves_goes_on_with_another_number_of_processes(folder, tmp_path):
    (alone,) = trained(1, folder, tmp_path / "alone", "lora")
    (tmp_path / "out").mkdir()
    done = torchrun(2, JOBS, "train", 60, folder, tmp_path / "out", "lora", 4, check=False)
    assert done.returncode != 0 and not list((tmp_path / "out").glob("*.pt"))
    torchrun(3, JOBS, "train", 60, folder, tmp_path / "out", "lora")
    found = torch.load(tmp_path / "out" / "rank-2.pt")
    assert found["records"][0]["step"] in (
        4,
        5,
    )  # rank 0 may have saved the fourth step before it ended
    same_course(found, alone)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sharded_layers_give_what_whole_ones_give(folder, tmp_path, count):
    for sharded in (True, False):
        torchrun(count, JOBS, "shard", 60, folder, tmp_path, sharded)
    for i in range(count):
        found, wanted = (
            torch.load(tmp_path / f"{s}-{i}.pt", weights_only=False) for s in (True, False)
        )
        assert found["records"] == wanted["records"] and len(found["records"]) >= 12
        for mine, theirs in zip(found["history"], wanted["history"], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert found["logprobs"] == wanted["logprobs"]
        for mine, theirs in zip(found["samples"], wanted["samples"], strict=True):
            assert torch.equal(mine.tokens, theirs.tokens) and torch.equal(
                mine.logprobs, theirs.logprobs
            )
            assert (
                mine.offsets.diff().unique().numel() > 2
            )  # the processes were not through at the same moment
        assert (
            found["held"] == pytest.approx(found["all"] / count, rel=0.02)
            and wanted["held"] == wanted["all"]
        )
    merged = [load_file(tmp_path / f"merged-{s}" / "model.safetensors") for s in (True, False)]
    assert merged[0].keys() == merged[1].keys() and all(
        torch.equal(merged[0][k], merged[1][k]) for k in merged[0]
    )


def test_meetings(tmp_path):
    torchrun(3, JOBS, "meet", 60, tmp_path)
    for i in range(3):
        found = json.loads((tmp_path / f"rank-{i}.json").read_text())
        assert found == {
            "gather": [0, 1, 2],
            "spread": ["a!", "bb!", "!", "dddd!", "e!"],
            "first": 0,
            # the long ones alone, two prompts each beside them
            "requests": [[4, 5], [0, 1, 6, 7], [2, 3, 8, 9]][i],
            "any": [True, False],
        }


def test_one_process_meets_nobody():
    assert (rank(), world_size()) == (0, 1)
    assert (
        all_gather(5) == [5]
        and on_rank0(lambda: 6) == 6
        and map_over_ranks(lambda part: part, [7, 8]) == [7, 8]
    )


def test_shares_are_balanced_and_complete():
    sizes = [200, 20, 90, 150, 30, 30, 80, 60, 10, 120]
    for count in (1, 2, 3, 20):
        parts = balanced_parts(sizes, count)
        assert sorted(i for part in parts for i in part) == list(range(len(sizes)))
        totals = [sum(sizes[i] for i in part) for part in parts]
        assert max(totals) <= max(
            sum(sizes) / count * 4 / 3, max(sizes)
        )  # Graham 1969: LPT within 4/3 of the optimum


LOST = [
    (1, "dies", 100),
    (1, "hangs", 3),
    (0, "hangs", 3),
    (1, "dies in a pass", 100),
    (2, "hangs in a pass", 3),
]


@pytest.mark.parametrize("victim, how, seconds", LOST)
def test_a_lost_rank_ends_the_others_and_is_named(folder, victim, how, seconds):
    start = time.monotonic()
    done = torchrun(3, JOBS, "lose", seconds, victim, how, folder, check=False)
    assert done.returncode != 0 and time.monotonic() - start < 60
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    limit = 4 * seconds if how.startswith("hangs") else 20
    assert all(each["seconds"] < limit for each in told)
    cause = re.search(
        r"Root Cause.*?rank +: (\d)", done.stderr, re.DOTALL
    )  # torchrun sees deaths itself, within 0.1 s
    assert any(f": rank {victim} " in each["message"] for each in told) or (
        how == "dies in a pass" and cause[1] == str(victim)
    )


def test_an_error_on_rank_0_is_raised_there_alone(tmp_path):
    torchrun(2, JOBS, "fail", 60, tmp_path)
    assert [(tmp_path / f"rank-{i}").read_text() for i in range(2)] == [
        "ZeroDivisionError",
        "SystemExit",
    ]
