"""Seconds by stage, and what --profile leaves in the folder of a run."""

from __future__ import annotations

import gzip
import json

import pytest
import torch
from families import save_random_model

from dftfast.model.policy import Policy
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.packing import Example
from dftfast.runtime import profile as profile_module
from dftfast.runtime.profile import STAGES, profiling, stage


def test_a_stage_inside_another_is_counted_once(tmp_path, monkeypatch):
    now = 0.0

    def work(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(profile_module, "_clock", lambda: now)
    inner = stage("embed")(work)
    with profiling(tmp_path) as profile, stage("discrepancy"):
        inner(2)
        inner(3)
        work(10)
    assert {name: calls for name, calls in profile.calls.items() if calls} == {
        "embed": 2,
        "discrepancy": 1,
    }
    assert profile.seconds["embed"] == 5 and profile.seconds["discrepancy"] == 10


def test_the_table_adds_up_and_a_failure_still_leaves_it(tmp_path):
    with pytest.raises(ZeroDivisionError), profiling(tmp_path), stage("rollout"):
        raise ZeroDivisionError
    assert profile_module._current is None
    rows = [line.split() for line in (tmp_path / "stages.txt").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == [*STAGES, "other", "total"]
    assert sum(float(row[1]) for row in rows[:-1]) == pytest.approx(float(rows[-1][1]), abs=0.05)


def test_training_is_profiled_and_one_update_traced(tmp_path):
    save_random_model("qwen3", tmp_path / "model")
    policy = Policy(tmp_path / "model", torch.float32)
    parameters = policy.begin_phase(4, 8, seed=0)
    examples = [Example([3, 4, i], [5, 6, i]) for i in range(7, 31)]
    with profiling(tmp_path) as profile:
        fit(
            policy.decoder,
            parameters,
            examples,
            FitSettings(1e-3, batch_tokens=48),
            seed=0,
            log=lambda record: None,
        )
    assert [profile.calls[name] for name in ("forward", "backward", "optimiser")] == [3, 3, 3]
    events = json.loads(gzip.decompress((tmp_path / "update.json.gz").read_bytes()))["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert any("lora_linearBackward" in name for name in names)
    assert sum("AdamW.step" in name for name in names) == 1
