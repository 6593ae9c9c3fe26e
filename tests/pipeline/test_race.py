"""A race of settings: all answer validation prompts, the best of each figure the held-out ones."""

from __future__ import annotations

import json

from tiny_run import flags, short_options

from dftfast.data.generations import read_draws
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.report import MAIN
from dftfast.pipeline import stage_sweep
from dftfast.pipeline.stage_sweep import finalists
from dftfast.train import main


def test_the_best_two_of_each_main_figure_go_on():
    far = lambda value: Estimate(value=value, human=0.1)
    results = {name: {"mmd": far(v), "jsd": far(1 - v)} for name, v in zip("abcd", (4, 1, 3, 2))}
    assert finalists(results) == {"b": ["mmd"], "d": ["mmd"], "a": ["jsd"], "c": ["jsd"]}
    results["b"]["jsd"] = far(-9.0)  # beyond people is as good as they are
    assert finalists(results)["b"] == ["mmd", "jsd"]
    assert finalists({"a": {"words": far(1.0)}}) == {}  # no main figure


def test_settings_that_lost_are_not_asked_again(model, corpus, tmp_path, monkeypatch):
    out = tmp_path / "raced"
    settings = {
        "sft.epochs": "1,2",
        "sweep.temperatures": "0.8,1",
        "sweep.min_p": "0,0.1",
        "sweep.race": 12,
        "dft.phases": 1,
    }
    monkeypatch.setattr(stage_sweep, "FINALISTS", 1)
    monkeypatch.setattr(stage_sweep, "MAIN", ("mmd", "self_bleu"))
    arguments = [*short_options(model, corpus), *flags(settings), f"--run.folder={out}"]
    main(arguments)
    folder = out / "generations" / "sft"
    raced = {path.stem: path for path in (folder / "race").glob("*.jsonl")}
    assert len(raced) == 2 * 2 * 2
    assert "full lr=0.01 data=1 epochs=2 T=0.8 top-p=1 top-k=0 min-p=0.1" in raced
    ended = json.loads((folder / "race" / "finalists.json").read_text())
    left = ended["finalists"]
    assert {metric for metrics in left.values() for metric in metrics} <= set(MAIN)
    answered = {path.stem: path for path in folder.glob("*.jsonl")}
    assert 1 <= len(left) <= 2 and set(answered) == set(left)
    ids = lambda path: {row["id"] for draw in read_draws(path) for row in draw}
    some, other = next(iter(raced.values())), next(iter(answered.values()))
    assert len(ids(some)) == 12 and len(ids(other)) == 20 and not ids(some) & ids(other)
    assert all(len(read_draws(path)) == 1 for path in raced.values())
    systems = json.loads((out / "results.json").read_text())["systems"]
    assert set(systems) == {*left, "dft"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    main([*arguments, "--evaluation.rounds=30"])
    times = lambda: {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    assert before == times()
    main([*arguments, "--evaluation.unseen_embedder=character-ngrams"])
    again = json.loads((folder / "race" / "finalists.json").read_text())
    assert again["views"] == ["character-ngrams"] * 2 != ended["views"]  # the race is run anew
    assert before.items() <= times().items()  # on the answers that are there
    systems = json.loads((out / "results.json").read_text())["systems"]
    assert set(systems) == {*again["finalists"], "dft"}
