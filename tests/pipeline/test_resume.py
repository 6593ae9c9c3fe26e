"""Runs that are killed or stopped go on, and end as those that were not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import killed_runs
import pytest
from killed_runs import weights
from safetensors.torch import load_file
from tiny_run import fine_tuned, flags, interrupt, options, short_options

from dftfast.pipeline import Run, stage_dft
from dftfast.runtime.command import run
from dftfast.train import main

KILLED_RUNS = Path(killed_runs.__file__)


def kill(count, model, corpus, work, *more):
    command = [sys.executable, KILLED_RUNS, str(count), "0", work]
    done = subprocess.run(
        [*command, *short_options(model, corpus), *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count and all(run["same"] for run in found), found
    return {run["killed"] for run in found}


def test_killed_runs_end_in_the_same_weights(model, corpus, tmp_path):
    kill(3, model, corpus, tmp_path)


def test_more_phases_go_on_from_those_that_are_there(model, corpus, tmp_path, monkeypatch):
    """A run of one phase becomes that of two, and of one again; no phase is trained twice."""
    trained, original = [], stage_dft.natural_phase

    def counted(context, phase):
        trained.append(phase)
        return original(context, phase)

    monkeypatch.setattr(stage_dft, "natural_phase", counted)
    out = tmp_path / "run"
    arguments = [*short_options(model, corpus), f"--run.folder={out}"]
    results = ("generations/dft.jsonl", "merged/model.safetensors")
    outcome = lambda: [(out / name).read_bytes() for name in results]
    recorded = lambda: json.loads((out / "dft" / "phases.json").read_text())
    main([*arguments, "--dft.phases=1"])
    one, records = outcome(), recorded()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        # two phases, but no answers yet
        patch.setattr("dftfast.pipeline.stage_dft.dft_sampler", interrupt)
        main([*arguments, "--dft.phases=2"])
    assert json.loads((out / "stages.json").read_text()).keys() >= {"dft (unfinished)"}
    main([*arguments, "--dft.phases=2"])
    two, more = outcome(), recorded()
    # the second phase, if it is better, makes the first a part of what is kept
    found = lambda records: [{**record, "kept": None} for record in records]
    assert trained == [1, 2] and found(more[:2]) == found(records) and len(more) == 3
    assert (two != one) == (min(more, key=lambda record: record.get("score", 0.0))["phase"] == 2)
    main([*arguments, "--dft.phases=1"])
    assert trained == [1, 2] and outcome() == one and recorded() == records
    main([*arguments, "--dft.phases=1", "--dft.rank=3"])
    assert trained == [1, 2, 1]


def test_both_methods_shares_of_data_and_every_sampler_in_one_run_that_goes_on(
    model, corpus, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    small = {
        "sft.method": "lora,full",
        "sft.fractions": "0.5,1",
        "sft.epochs": 1,
        "sft.learning_rates": 0.003,
        "sft.full_learning_rates": 0.001,
        "sft.rank": 4,
        "sweep.top_p": "0.9,1",
        "sweep.top_k": "0,20",
        "sweep.temperatures": 0.9,
        "sweep.prompts": 20,
        "evaluation.prompts": 20,
        "dft.prompts": 24,
        "dft.candidates": 2,
    }
    arguments = [*options(model, corpus, out), *flags(small)]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    answer, done = Run.answer, []

    def twice(self, *given):
        return done.append(answer(self, *given)) if len(done) < 2 else interrupt()

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Run, "answer", twice)
        run(main)
    before = {path: path.stat().st_mtime_ns for path in (out / "generations" / "sft").iterdir()}
    assert len(before) == 8
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not sampled again
    systems = json.loads((out / "results.json").read_text())["systems"]
    assert set(systems) == {"dft"} | {
        f"{method} data={share} T=0.9 top-p={p} top-k={k}"
        for method in ("lora lr=0.003", "full lr=0.001")
        for share in ("0.5", "1")
        for p in ("0.9", "1")
        for k in (0, 20)
    }
    assert all(figures["copied"]["value"] is not None for figures in systems.values())
    page = (out / "report.html").read_text()
    assert "By top-p" in page and "By top-k" in page and "Effect of the amount" in page
    assert "By temperature" not in page
    # by two embedders, two draws of each system
    assert len(list((out / "embeddings").iterdir())) == 2 * (2 * len(systems) + 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_kills_at_random_instants(model, corpus, tmp_path):
    places = kill(30, model, corpus, tmp_path)
    assert {"write", "checkpoint", "checkpoint checksum", "merge"} <= places


@pytest.fixture(scope="module")
def tuned(model, corpus, tmp_path_factory):
    """A model that ends its texts."""
    out = tmp_path_factory.mktemp("tuned")
    fine_tuned(model, corpus, out)
    return next(out.glob("sft/*/config.json")).parent


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_runs_of_several_processes_that_are_killed(tuned, corpus, tmp_path):
    """The same number of processes goes on bit for bit, the layers sharded or not.

    Another number goes on, too.
    """
    options = [
        *short_options(tuned, corpus),
        "--sft.method=lora",
        "--sft.learning_rates=0.003",
        "--dft.bake_temperature=0.9",
    ]

    def start(count, name, *more, rank=0, point="update", call=0):
        torchrun = "-m torch.distributed.run --standalone --nproc-per-node".split()
        command = [sys.executable, *torchrun, count, KILLED_RUNS, rank, point, call]
        command += [*options, f"--run.folder={tmp_path / name}", *more]
        done = subprocess.run(
            list(map(str, command)),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) is (call == 0), done.stderr[-3000:]

    start(2, "whole")
    expected = weights(tmp_path / "whole")
    assert any(name.startswith("merged") for name in expected)
    for name, more, rank, point, call in [
        ("killed", [], 1, "update", 5),
        ("sharded", ["--run.shard=true"], 0, "checkpoint", 9),
        ("merging", [], 0, "merge", 12),
    ]:
        start(2, name, *more, rank=rank, point=point, call=call)
        start(2, name, *more)
        assert weights(tmp_path / name) == expected, name
    start(2, "three", rank=1, point="update", call=5)
    start(3, "three")
    adapters = lambda name: list((tmp_path / name / "sft").glob("*/*.safetensors"))
    (mine,), (theirs,) = adapters("three"), adapters("whole")
    mine, theirs = load_file(mine), load_file(theirs)
    for name, tensor in theirs.items():
        assert (mine[name] - tensor).norm() <= 1e-2 * tensor.norm() + 1e-6
    assert weights(tmp_path / "three").keys() == expected.keys()
