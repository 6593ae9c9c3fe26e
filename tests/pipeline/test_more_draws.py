"""Two answers to each held-out prompt: a run of one draw goes on to two as if begun with two."""

from __future__ import annotations

import json

import pytest
from tiny_run import flags, interrupt, short_options

from dftfast.data.generations import read_draws
from dftfast.dft.stored_rollouts import generate
from dftfast.pipeline import Run
from dftfast.train import main

SYSTEMS = 3  # one fine-tuned model at one temperature, DFT, and the baseline without training


@pytest.fixture
def start(model, corpus, tmp_path, monkeypatch):
    """Start a run with these settings; returns its folder and the numbers of requests sampled."""
    asked = []

    def counted(engine, requests, *rest):
        asked.append(len(requests))
        return generate(engine, requests, *rest)

    monkeypatch.setattr("dftfast.pipeline.run.generate", counted)

    def begin(folder, **settings):
        asked.clear()
        settings = {"dft.phases": 1, "baselines.methods": "select", **settings}
        out = tmp_path / folder
        main([*short_options(model, corpus), *flags(settings), f"--run.folder={out}"])
        return out, list(asked)

    return begin


def written(out):
    """The text of each file of generations; that of selection chooses among other candidates."""
    files = sorted((out / "generations").rglob("*.jsonl"))
    assert len(files) == SYSTEMS
    return {path.name: path.read_text() for path in files}


def test_one_draw_goes_on_to_two(start):
    draws = lambda count: {"evaluation.draws": count}
    out, asked = start("grown", **draws(1))
    one = written(out)
    assert asked == [20, 20]
    phases = (out / "dft" / "phases.json").stat().st_mtime_ns
    out, asked = start("grown", **draws(2))
    two = written(out)
    assert asked == [20, 20]  # the second draw alone
    assert (out / "dft" / "phases.json").stat().st_mtime_ns == phases
    for name, text in two.items():
        assert text.startswith(one[name]) and text.count("\n") == 2 * one[name].count("\n")
        first, second = read_draws(next((out / "generations").rglob(name)))
        assert [row["id"] for row in first] == [row["id"] for row in second]
        assert {row["sampler"]["seed"] for row in first} == {0}
        assert {row["sampler"]["seed"] for row in second} == {1}
        assert sum(a["text"] != b["text"] for a, b in zip(first, second)) >= 10
    record = json.loads((out / "results.json").read_text())
    assert record["about"]["draws"] == 2 and len(record["systems"]) == SYSTEMS
    assert all(len(figures["length_mean"]["draws"]) == 2 for figures in record["systems"].values())
    assert "means over 2 answers" in (out / "report.html").read_text()

    whole, asked = start("whole", **draws(2))
    assert asked == [40, 40] and written(whole) == two

    out, asked = start("grown", **draws(1))
    assert asked == [] and written(out) == two  # what is there stays for the next time
    record = json.loads((out / "results.json").read_text())
    assert all("draws" not in figures["length_mean"] for figures in record["systems"].values())


def test_a_second_draw_that_is_stopped_goes_on(start, monkeypatch):
    out, _ = start("run", **{"evaluation.draws": 1})
    one, answer = written(out), Run.answer
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            Run,
            "answer",
            lambda run, *given: answer(run, *given) if "sweep" in given[3] else interrupt(),
        )
        start("run", **{"evaluation.draws": 2})
    halfway = written(out)
    assert [len(halfway[name]) > len(one[name]) for name in halfway].count(True) == 1
    out, asked = start("run", **{"evaluation.draws": 2})
    assert asked == [20]
    assert all(len(text) > len(one[name]) for name, text in written(out).items())


def test_answers_of_another_policy_are_not_kept(start):
    """More phases may give another policy; its answers are those of a run of so many phases."""
    out, _ = start("run", **{"evaluation.draws": 1})
    start("run", **{"dft.phases": 2, "evaluation.draws": 2})
    whole, _ = start("whole", **{"dft.phases": 2, "evaluation.draws": 2})
    assert written(out)["dft.jsonl"] == written(whole)["dft.jsonl"]
