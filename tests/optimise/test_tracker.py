"""Figures of a run reach the tracker that is named, and none is asked for in silence."""

from __future__ import annotations

import json

import pytest

from dftfast.optimise.log import RunLog
from dftfast.optimise.tracker import pick_tracker
from dftfast.runtime.errors import UserError


def write(folder, tracker):
    log = RunLog(folder, tracker, {"run": {"seed": 0}})
    for step in range(3):
        figures = {"loss": 2.0 - step, "step": step}
        log.write("sft lora", figures | {"note": "text", "skipped": False}, step)
    log.close()


def test_tensorboard_has_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("sft lora/loss")] == [2.0, 1.0, 0.0]
    assert set(events.Tags()["scalars"]) == {"sft lora/loss", "sft lora/step"}


def test_wandb_has_the_figures(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    seen = []
    init = wandb.init

    def started(**options):
        run = init(**options)
        log = wandb.log
        monkeypatch.setattr(wandb, "log", lambda values: (seen.append(values), log(values)))
        return run

    monkeypatch.setattr(wandb, "init", started)
    write(tmp_path, "wandb")
    assert [values["sft lora/loss"] for values in seen] == [2.0, 1.0, 0.0]
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_the_log_is_written_without_any(tmp_path):
    write(tmp_path, pick_tracker("none"))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [2.0, 1.0, 0.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl"]


def test_one_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert pick_tracker("auto") is None
    with pytest.raises(UserError, match=r"dftfast\[trackio\]"):
        pick_tracker("trackio")
