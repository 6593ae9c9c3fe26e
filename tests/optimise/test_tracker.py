"""Figures of a run reach the tracker that is named, and none is asked for in silence."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

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


def test_trackio_has_the_figures_and_a_run_goes_on_as_itself(tmp_path, monkeypatch):
    """Two runs in folders of one name, the first of which is started twice."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("trackio")
    first, second = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for folder in (first, first, second):
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, "trackio")
    (file,) = (tmp_path / "trackio").glob("dftfast*.db")
    with closing(sqlite3.connect(file)) as store:
        rows = store.execute("select run_name, metrics from metrics order by id").fetchall()
    losses: dict[str, list[float]] = {}
    for name, figures in rows:
        losses.setdefault(name, []).append(json.loads(figures)["sft lora/loss"])
    names = [(folder / ".tracked_as").read_text() for folder in (first, second)]
    assert losses == {names[0]: [2.0, 1.0, 0.0] * 2, names[1]: [2.0, 1.0, 0.0]}


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
