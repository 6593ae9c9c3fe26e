"""Several gloo processes give what one process gives, and none of them waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from families import save_random_model

from dftfast.training.distributed import gather, on_first, rank, shares, spread, world

JOBS = Path(__file__).with_name("distributed_jobs.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(processes, *command, check=True):
    """Run a script on this many processes of this machine."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run([*start, *map(str, command)], env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
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
        subprocess.run([sys.executable, JOBS, "train", "60", folder, out, method], env=ENVIRONMENT, check=True)
    else:
        torchrun(processes, JOBS, "train", 60, folder, out, method)
    return [torch.load(out / f"rank-{i}.pt") for i in range(processes)]


@pytest.mark.parametrize("method, counts", [("lora", (2, 3)), ("full", (2,))])
def test_training_is_the_same_on_any_number_of_processes(folder, tmp_path, method, counts):
    (alone,) = trained(1, folder, tmp_path / "1", method)
    assert len(alone["records"]) >= 6 and alone["records"][-1]["loss"] != alone["records"][0]["loss"]
    for count in counts:
        ranks = trained(count, folder, tmp_path / str(count), method)
        for other in ranks[1:]:
            for mine, theirs in zip(ranks[0]["course"], other["course"], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(mine, theirs))
            assert other["logprobs"] == ranks[0]["logprobs"]
        for mine, theirs in zip(alone["records"], ranks[0]["records"], strict=True):
            assert mine["tokens"] == theirs["tokens"] and mine["learning_rate"] == theirs["learning_rate"]
            assert theirs["loss"] == pytest.approx(mine["loss"], rel=2e-4)
            assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=2e-3)
        for mine, theirs in zip(alone["course"][0], ranks[0]["course"][0]):
            torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-5)
        moved = torch.cat([p.flatten() for p in alone["course"][-1]])
        gap = torch.cat([p.flatten() for p in ranks[0]["course"][-1]]) - moved
        assert gap.norm() < 1e-3 * moved.norm()
        logprobs = [torch.tensor(sum(found["logprobs"], [])) for found in (alone, ranks[0])]
        torch.testing.assert_close(*logprobs, rtol=1e-2, atol=1e-2)


def test_meetings(tmp_path):
    torchrun(3, JOBS, "meet", 60, tmp_path)
    for i in range(3):
        found = json.loads((tmp_path / f"rank-{i}.json").read_text())
        assert found == {"gather": [0, 1, 2], "spread": ["a!", "bb!", "!", "dddd!", "e!"], "first": 0, "any": [True, False]}


def test_one_process_meets_nobody():
    assert (rank(), world()) == (0, 1)
    assert gather(5) == [5] and on_first(lambda: 6) == 6 and spread(lambda part: part, [7, 8]) == [7, 8]


def test_shares_are_balanced_and_complete():
    sizes = [200, 20, 90, 150, 30, 30, 80, 60, 10, 120]
    for count in (1, 2, 3, 20):
        parts = shares(sizes, count)
        assert sorted(i for part in parts for i in part) == list(range(len(sizes)))
        totals = [sum(sizes[i] for i in part) for part in parts]
        assert max(totals) <= max(sum(sizes) / count * 4 / 3, max(sizes))  # Graham 1969: LPT within 4/3 of the optimum


@pytest.mark.parametrize("victim, how, seconds", [(1, "dies", 100), (1, "hangs", 3), (0, "hangs", 3)])
def test_a_lost_rank_ends_the_others_and_is_named(victim, how, seconds):
    start = time.monotonic()
    done = torchrun(3, JOBS, "lose", seconds, victim, how, check=False)
    assert done.returncode != 0 and time.monotonic() - start < 60
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    limit = 3 * seconds if how == "hangs" else 20
    assert told and all(each["seconds"] < limit for each in told)
    assert any(f": rank {victim} " in each["message"] for each in told)


def test_an_error_on_rank_0_is_raised_there_alone(tmp_path):
    torchrun(2, JOBS, "fail", 60, tmp_path)
    assert [(tmp_path / f"rank-{i}").read_text() for i in range(2)] == ["ZeroDivisionError", "SystemExit"]
