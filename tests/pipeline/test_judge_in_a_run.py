"""A run that asks a judge: what it asks, what the report says, failures, caps, resumption."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from chat_server import ChatServer, completion
from tiny_run import flags, short_options

from dftfast.config import load_config
from dftfast.data.generations import read_draws
from dftfast.evaluation.judge import QUESTIONS
from dftfast.pipeline import Run
from dftfast.runtime.errors import UserError
from dftfast.train import main

PROMPTS, TIES = 16, 3
DFT = "generations/dft.jsonl"
USAGE = {"prompt_tokens": 1, "completion_tokens": 300, "total_tokens": 301}


def shown(body):
    """The two texts of a question."""
    text = body["messages"][0]["content"]
    return tuple(text.split(f"<text_{x}>\n")[1].split(f"\n</text_{x}>")[0] for x in "AB")


def longer(body, number=0):
    """The longer text; of two that are about as long, the one shown first."""
    first, second = (len(text) for text in shown(body))
    return completion("A" if first > second - TIES else "B")


def small(model, corpus):
    one = {"dft.phases": 1, "evaluation.unseen_embedder": "character-ngrams"}
    return [*short_options(model, corpus), *flags(one)]


@pytest.fixture(scope="module")
def unjudged(model, corpus, tmp_path_factory):
    """A finished run without a judge: only its report is written anew."""
    out = tmp_path_factory.mktemp("run")
    main([*small(model, corpus), f"--run.folder={out}"])
    return out


@pytest.fixture
def start(unjudged, model, corpus, tmp_path, monkeypatch):
    """Start a copy of the run with settings of its judge; results.json of it."""
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    shutil.copytree(unjudged, out)

    def start(judge, **others):
        settings = {"model": judge, "prompts": PROMPTS, **others}
        of_judge = flags({f"judge.{key}": value for key, value in settings.items()})
        main([*small(model, corpus), f"--run.folder={out}", *of_judge])
        return json.loads((out / "results.json").read_text())

    start.folder = out
    return start


def texts_of(folder):
    """Human texts, and answers of DFT and of the sweep's one setting: each by prompt."""
    job = Run(load_config(files=[folder / "config.yaml"]))
    human = {d.id: d.text.strip() for d in job.held_out[:PROMPTS]}
    answers = {}
    for path in (*(folder / "generations" / "sft").glob("*.jsonl"), folder / DFT):
        rows = read_draws(path)[0]
        answers[path.stem] = {r["id"]: r["text"].strip() for r in rows if r["id"] in human}
    return human, answers


def win(output, human):
    """What `longer` says of a pair that it saw in both orders."""
    if not output or abs(len(output) - len(human)) < TIES:
        return 0.5 if output else 0
    return float(len(output) > len(human))


def test_a_judge_is_asked_about_dft_the_best_of_the_sweep_and_other_people(start, capsys):
    with ChatServer(longer) as server:
        results = start(f"{server.url},m,1,10")
        asked = len(server.requests)
        again = start(f"{server.url},m,1,10")  # done already
        assert len(server.requests) == asked
    human, answers = texts_of(start.folder)
    assert set(results["systems"]) == set(answers) and len(answers) == 2
    (judge,) = results["judges"]
    assert set(judge["systems"]) == set(answers) and judge["both_orders"]
    verdicts = [n for s in judge["systems"].values() for n in s["verdicts"].values()]
    assert verdicts == [PROMPTS] * len(QUESTIONS) * 2
    different = {(i, text) for each in answers.values() for i, text in each.items() if text}
    assert asked == 2 * len(QUESTIONS) * (len(different) + PROMPTS)
    assert 0.5 < judge["first"] < 0.8 and judge["agreement"] < 1  # about as long: the first
    assert judge["longer"] > 0.9  # that is of words
    for name, each in answers.items():
        jmq = results["systems"][name]["jmq"]
        assert jmq["value"] == pytest.approx(2 * np.mean([win(each[i], human[i]) for i in human]))
        assert jmq["low"] <= jmq["value"] <= jmq["high"] and jmq["human"] == 1
        assert results["systems"][name]["jmq_depth"]["value"] == jmq["value"]
    sweep = next(name for name in answers if name != "dft")
    assert results["super_baseline"]["jmq"]["system"] == sweep
    others = judge["other_prompts"]["figures"]["jmq"]["value"]
    assert others == pytest.approx(1, abs=0.35)  # length does not know the prompt
    page = (start.folder / "report.html").read_text()
    assert "What judges prefer" in page and "Human texts of other prompts have a JMQ" in page
    assert again == results
    assert "  JMQ ↑ " in capsys.readouterr().out


def test_a_judge_that_is_down_costs_no_report_and_is_asked_at_the_next_start(start):
    with ChatServer(lambda body, number: longer(body) if number < 5 else (401, {})) as server:
        with pytest.raises(UserError, match="written without the judge"):
            start(f"{server.url},m")
        results = json.loads((start.folder / "results.json").read_text())
        assert results["verdicts"] and "judges" not in results
        assert (start.folder / "report.html").exists()
        assert (start.folder / "merged" / "README.md").exists()
        server.behave, before = longer, len(server.requests)
        judge = start(f"{server.url},m")["judges"][0]
    # what was under way beside the refused request is lost
    assert 0 < judge["calls"]["kept"] <= 5 and judge["unanswered"] == 0
    assert judge["calls"]["asked"] == len(server.requests) - before


def test_a_cap_leaves_fewer_verdicts_and_a_higher_one_adds_to_them(start):
    with ChatServer(lambda body, _: longer(body) | {"usage": USAGE}) as server:
        only_jmq = {"dimensions": "false"}
        with pytest.raises(UserError, match=r"judge\.model: a cap on the cost needs prices"):
            start(f"{server.url},m", max_cost=1)
        capped = start(f"{server.url},m,0,1000", max_cost=20, **only_jmq)["judges"][0]
        asked = len(server.requests)
        assert capped["calls"]["capped"] and capped["calls"]["spent"] <= 20
        few = [s["verdicts"]["jmq"] for s in capped["systems"].values()]
        assert 4 <= min(few) <= max(few) < PROMPTS and set(capped["systems"]["dft"]) >= {"figures"}
        whole = start(f"{server.url},m,0,1000", **only_jmq)["judges"][0]
    assert {s["verdicts"]["jmq"] for s in whole["systems"].values()} == {PROMPTS}
    assert whole["calls"]["kept"] == asked
    assert list(whole["systems"]["dft"]["figures"]) == ["jmq", "jmq_equal_length"]


def test_a_model_on_this_machine_is_a_judge(start, model):
    """Both orders of every pair are shown."""
    results = start(model, prompts=4, dimensions="false")
    (judge,) = results["judges"]
    assert judge["where"] == "this machine" and judge["calls"] is None
    assert {s["figures"]["jmq"]["value"] for s in judge["systems"].values()} <= {0.0, 0.5, 1.0}
