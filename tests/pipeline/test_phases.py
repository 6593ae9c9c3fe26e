"""Phases that go wrong are given up; the others go as far as their limits and the time allow."""

from __future__ import annotations

import json
import re

import pytest
import torch

from dftfast.dft.loop import run_phases
from dftfast.dft.validation import ValidationScorer
from dftfast.model.adapter import Adapter
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


def measured_by(monkeypatch, measure, likelihoods=lambda record: {}):
    monkeypatch.setattr(ValidationScorer, "measure", measure)
    with_likelihoods = lambda scorer, record: (
        record | {"collapse": {"human_nats": 3.0}} | likelihoods(record)
    )
    monkeypatch.setattr(ValidationScorer, "with_likelihoods", with_likelihoods)
    monkeypatch.setattr(ValidationScorer, "remember", lambda scorer, phase: None)


@pytest.mark.parametrize("minutes, phases", [(None, 3), (1e-9, 1)])
def test_no_phase_is_begun_beyond_the_time(context, tmp_path, monkeypatch, minutes, phases):
    context.folder = tmp_path / "dft"
    empty = {"validation": {}, "z": {"mmd": 9.0}, "collapse": {}}
    measure = lambda scorer, what: {"score": -float(len(scorer.records)), **empty}
    settings = context.settings.model_copy(update={"phases": 3, "minutes": minutes})
    monkeypatch.setattr(context, "settings", settings)
    measured_by(monkeypatch, measure)
    records = run_phases(context, damaged(1e-4))
    assert len(records) == 1 + phases and all(record["minutes"] > 0 for record in records)
    assert len(run_phases(context, damaged(1e-4))) == len(records)  # nor when it goes on


@pytest.mark.parametrize(
    "aim, longest, steps, best",
    [
        (0.4, 1, [1, 0.5], 0.5),  # a quarter would be farther off: the parabola knows
        (2.0, 1, [1, 0.5], 1),
        (0.15, 1, [1, 0.5, 0.25], 0.25),
        (2.0, 0.5, [1, 0.5, 0.25], 0.5),  # the whole step would cost too much of the likelihood
        (2.0, 0.1, [1, 0.5, 0.25], None),
    ],
)
def test_a_phase_goes_as_far_as_is_best_within_its_limits(
    context, tmp_path, monkeypatch, aim, longest, steps, best
):
    context.folder, tried, checked = tmp_path / "dft", [], []

    def measure(scorer, what):
        if scorer.records:
            tried.append(context.policy.adapters[-1].scale)
        score = (tried[-1] - aim) ** 2 - aim**2 if tried else 0.0
        return {"score": score, "validation": {}, "z": {"mmd": 9.0}, "collapse": {}}

    def likelihoods(record):
        if not tried:
            return {}
        checked.append(context.policy.adapters[-1].scale)
        return {"dropped": ["human texts cost too much"]} if checked[-1] > longest else {}

    monkeypatch.setattr(context, "settings", context.settings.model_copy(update={"phases": 1}))
    measured_by(monkeypatch, measure, likelihoods)
    record = run_phases(context, damaged(1e-4))[1]
    assert tried == steps and ("dropped" in record) is (best is None)
    if best is None:
        assert checked == steps
        return
    assert record["scale"] == checked[-1] == best
    assert record["score"] == pytest.approx((best - aim) ** 2 - aim**2)
    stored = Adapter.load(context.folder / "phase-1")
    assert context.policy.adapters.pop().scale == stored.scale == best
    context.policy.merge_weights()
