"""Phases that go wrong are given up; the others go as far as their limits and the time allow."""

from __future__ import annotations

import json
import re

import pytest
import torch

from dftfast.dft.loop import run_phases
from dftfast.dft.validation import ValidationScorer
from dftfast.model.lora import lora_layers
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.runtime.errors import Diverged


def damaged(strength):
    """A phase that learns nothing but random weights."""

    def method(context, phase):
        context.policy.begin_phase(4, 4, seed=0)
        generator = torch.Generator().manual_seed(phase)
        for module in lora_layers(context.policy.decoder).values():
            module.b.data.normal_(generator=generator).mul_(strength)
        context.policy.end_phase()
        return {"made": strength}

    return method


def diverging(context, phase):
    context.policy.begin_phase(4, 4, seed=0)
    raise Diverged("10 steps in a row had a non-finite loss")


@pytest.mark.parametrize(
    "method, reason",
    [
        (damaged(3.0), "KL|entropy|repetition|cut"),
        (damaged(float("nan")), ""),
        (diverging, "non-finite"),
    ],
)
def test_a_phase_that_goes_wrong_is_given_up_for_the_one_before(
    context, tmp_path, method, reason, caplog
):
    context.folder = tmp_path / "dft"
    context.checkpoints = lambda loop: Checkpoints(tmp_path / "checkpoints" / loop)
    before = [p.clone() for p in context.policy.decoder.parameters()]
    records = run_phases(context, method)
    assert [record["phase"] for record in records] == [0, 1] and "dropped" not in records[0]
    assert any(re.search(reason, each) for each in records[1]["dropped"])
    kept = json.loads((context.folder / "phases.json").read_text())
    assert kept[1]["dropped"] == records[1]["dropped"]
    after = context.policy.decoder.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert "phase 1 is given up" in caplog.text
    assert json.dumps(run_phases(context, method)) == json.dumps(records)  # nor is it tried again


def test_a_phase_within_the_limits_is_not_given_up(context, tmp_path):
    context.folder = tmp_path / "dft"
    context.checkpoints = lambda loop: Checkpoints(tmp_path / "checkpoints" / loop)
    record = run_phases(context, damaged(1e-4))[1]
    assert "dropped" not in record and abs(record["collapse"]["kl"]) < 0.01


@pytest.mark.parametrize(
    "scores, ended, kept",
    [
        ([0.0, -0.2, -0.5, -0.3, -0.3, 0.0], 5, 2),  # two that are worse beyond chance end it
        ([0.0, -0.2, -0.5, -0.45, -0.48, -0.42], 6, 5),  # level: the last one
        ([0.0, -0.3, 0.2], 3, 1),
    ],
)
def test_the_last_phase_is_kept_unless_one_before_is_better_beyond_chance(
    context, tmp_path, monkeypatch, scores, ended, kept
):
    context.folder, given = tmp_path / "dft", iter(scores)
    measure = lambda scorer, phase: {
        "score": next(given),
        "validation": {},
        "z": {"mmd": 9.0},
        "collapse": {},
    }
    monkeypatch.setattr(ValidationScorer, "measure", measure)
    monkeypatch.setattr(ValidationScorer, "remember", lambda scorer, phase: None)
    settings = context.settings.model_copy(update={"phases": len(scores) - 1})
    monkeypatch.setattr(context, "settings", settings)
    start = len(context.policy.adapters)
    records = run_phases(context, damaged(1e-4))
    assert [record["score"] for record in records] == scores[:ended]
    assert len(context.policy.adapters) == start + kept
    on_disk = json.loads((context.folder / "phases.json").read_text())
    assert [record["kept"] for record in on_disk] == [phase <= kept for phase in range(ended)]
    del context.policy.adapters[start:]
    context.policy.merge_weights()


def test_a_run_ends_where_validation_sees_no_distance_after_a_phase(context, tmp_path, monkeypatch):
    context.folder = tmp_path / "dft"
    measure = lambda scorer, phase: {
        "score": -float(phase),
        "validation": {},
        "z": {"mmd": 1.0 if phase in (0, 2) else 3.0},
        "collapse": {},
    }
    monkeypatch.setattr(ValidationScorer, "measure", measure)
    monkeypatch.setattr(ValidationScorer, "remember", lambda scorer, phase: None)
    settings = context.settings.model_copy(update={"phases": 9})
    monkeypatch.setattr(context, "settings", settings)
    assert len(run_phases(context, damaged(1e-4))) == 3
