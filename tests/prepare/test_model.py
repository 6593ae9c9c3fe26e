"""A model cleans and writes briefs, checked; one that misbehaves changes nothing but counts."""

from __future__ import annotations

import json
import random
import time

import pytest
from chat_server import ChatServer, completion
from prepare.model_server import BRIEF, bad_answers, good, lines_asked, prepare
from prepare.stories import FRAME, story, write_stories

from dftfast.endpoint import Limits
from dftfast.prepare import Piece
from dftfast.prepare.arguments import main
from dftfast.prepare.asking import Prompts, Wrong
from dftfast.prepare.clean import is_subsequence
from dftfast.prepare.model_briefs import brief_question
from dftfast.prepare.model_cleaning import cleaning_question
from dftfast.runtime.errors import UserError

pytest.importorskip("openai")


@pytest.fixture
def folder(tmp_path):
    return write_stories(tmp_path / "docs", 12)


@pytest.fixture
def quick(monkeypatch):
    """An endpoint is given up on soon."""
    limits = Limits(timeout=0.5, attempts=3, first_wait=0.01, longest_wait=0.02)
    real = "dftfast.prepare.model_options.limits_of"
    from dftfast.endpoint import limits_of

    monkeypatch.setattr(real, lambda options: (limits, limits_of(options)[1]))


def test_a_model_cleans_and_writes_briefs(folder, tmp_path):
    with ChatServer(good) as server:
        rows, counts = prepare(folder, tmp_path / "c.jsonl", server)
    assert [row["text"] for row in rows] == [story(i) for i in range(12)]
    for row in rows:
        assert row["brief"] == "model" and row["prompt"] == BRIEF["prompt"]
        assert row["outline"] in ([], BRIEF["outline"])
    assert counts["model"] == {"cleaned by the model": 12, "brief by the model": 12}
    assert counts["lines"] == {"model": 48}
    assert all(request["temperature"] == 0 for request in server.requests)
    kinds = {
        r["messages"][1]["content"].split(".")[0] for r in server.requests if not lines_asked(r)
    }
    assert len(kinds) > 1  # of prompt, by hash


def test_the_same_command_asks_nothing_twice(folder, tmp_path):
    out = tmp_path / "c.jsonl"
    with ChatServer(good) as server:
        trial, _ = prepare(folder, out, server, "--limit", "4")
        assert len(server.requests) == 8
        rows, _ = prepare(folder, out, server)
        assert len(server.requests) == 24
        first = out.read_bytes()
        prepare(folder, out, server)
        assert len(server.requests) == 24 and out.read_bytes() == first
    assert [row for row in rows if row in trial] == trial


def test_a_model_may_do_one_of_both(folder, tmp_path):
    with ChatServer(good) as server:
        rows, counts = prepare(folder, tmp_path / "c.jsonl", server, "--clean", "rules")
        assert len(server.requests) == 12 and counts["lines"] == {"repeated": 48}
        assert rows[0]["brief"] == "model"
        rows, counts = prepare(folder, tmp_path / "d.jsonl", server, "--briefs", "extractive")
        assert len(server.requests) == 24 and counts["lines"] == {"model": 48}
        assert rows[0]["brief"] == "extractive"


def test_rows_do_not_depend_on_the_order_of_answers(folder, tmp_path):
    rng = random.Random(0)

    def slow(request, number):
        time.sleep(rng.uniform(0, 0.03))
        return good(request)

    with ChatServer(slow) as server:
        prepare(folder, tmp_path / "a" / "c.jsonl", server)
        prepare(folder, tmp_path / "b" / "c.jsonl", server, "--concurrency", "1")
    for name in ("c.jsonl", "removed.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_answers_that_fail_their_check_are_asked_again_and_then_left_to_the_rules(folder, tmp_path):
    with ChatServer(lambda request, number: completion("no idea")) as server:
        rows, counts = prepare(folder, tmp_path / "c.jsonl", server)
    assert len(server.requests) == 12 * 2 * 3
    assert "cannot be used: there is no JSON" in server.requests[-1]["messages"][-1]["content"]
    assert [row["text"] for row in rows] == [story(i) for i in range(12)]
    assert all(row["brief"] == "extractive" for row in rows)
    assert counts["model"]["cleaned by rules"] == counts["model"]["brief by rules"] == 12
    assert counts["lines"] == {"repeated": 48}
    assert any("answers of the model could not be used" in line for line in counts["findings"])


class Misbehaving:
    """Every kind of failure in turn, and a good answer in between."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def __call__(self, request, number):
        rng, bad = self.rng, bad_answers(lines_asked(request))
        kinds = [
            (429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"}),
            (500, {"error": {"message": "oh no"}}),
            (503, b"<html>bad gateway</html>"),
            2,  # hangs
            b"\x00 garbage",
            b'{"choices": [{"mess',
            {"choices": []},
            *map(completion, bad),
        ]
        return rng.choice(kinds) if rng.random() < 0.6 else good(request)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_server_that_misbehaves_changes_no_word(folder, tmp_path, quick, seed):
    out = tmp_path / "c.jsonl"
    with ChatServer(Misbehaving(seed)) as server:
        for _ in range(20):  # a server that is down ends the command in one line
            try:
                rows, counts = prepare(folder, out, server)
                break
            except UserError as error:
                assert "the same command goes on from there" in str(error)
    assert len(rows) == 12
    for i, row in enumerate(rows):
        document = (folder / f"{i:04d}.txt").read_text().split("\n")
        assert is_subsequence(row["text"].split("\n"), document)
        assert row["text"] == story(i)
    asked = counts["model"]
    assert asked["cleaned by the model"] + asked.get("cleaned by rules", 0) == 12
    assert asked["brief by the model"] + asked.get("brief by rules", 0) == 12


def answer(question, text):
    """What is used of it, or why it cannot be."""
    from dftfast.prepare.asking import _decoded

    try:
        return question.check(_decoded(text))
    except Wrong as problem:
        return str(problem)


def test_every_bad_answer_is_seen():
    text = f"{FRAME}\n{story(1)}"
    piece, prompts = Piece(0, "s", "s/a.txt", text), Prompts.load()
    cleaning, brief = cleaning_question(piece, prompts), brief_question(piece, prompts)
    lines = [(i + 1, line) for i, line in enumerate(text.split("\n"))]
    for question, asked in ((cleaning, lines), (brief, None)):
        for bad in bad_answers(asked):
            assert isinstance(answer(question, bad), str), bad[:50]
    assert answer(cleaning, 'Sure:\n```json\n{"drop": [1]}\n```') == {0}
    assert answer(cleaning, '{"drop": []}') == set()
    assert answer(brief, json.dumps(BRIEF))["prompt"] == BRIEF["prompt"]
    eight = " ".join(story(1).split()[:9])
    said = answer(brief, json.dumps({**BRIEF, "prompt": f"Write that {eight}"}))
    assert said == "the prompt repeats eight words of the text"


def test_numbers_and_quotes_of_the_outline_stand_in_the_text():
    text = 'In 1987 the ferry cost 1,200.50 dollars. "We sail at dawn," he said.'
    question = brief_question(Piece(0, "s", "o", text), Prompts.load())
    for point, used in (
        ("the ferry of 1987 for 1,200.50 dollars", True),
        ('he said "we sail at dawn"', True),
        ("the ferry of 1988", False),
        ("for 1,200 dollars", False),
        ('he said "we sail at dusk"', False),
    ):
        found = answer(question, json.dumps({**BRIEF, "outline": [point]}))
        assert isinstance(found, dict) == used, point


def test_the_user_is_told_and_asked_first(folder, tmp_path, monkeypatch, capsys):
    with ChatServer(good) as server:
        where = ["--endpoint", f"local={server.url},m,1,2", "--out", str(tmp_path / "c.jsonl")]
        with pytest.raises(UserError, match="--yes starts without asking"):
            main([str(folder), *where])
        said = capsys.readouterr().err
        assert "12 documents: 24 questions, about " in said and "about $0.0" in said
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda prompt: "n")
        with pytest.raises(UserError, match="nothing was asked"):
            main([str(folder), *where])
        assert not server.requests
        monkeypatch.setattr("builtins.input", lambda prompt: "y")
        main([str(folder), *where])
        capsys.readouterr()
        main([str(folder), *where, "--yes"])
        assert "0 questions" in (said := capsys.readouterr().err)
        assert "24 answers from before" in said and len(server.requests) == 24


def test_prompts_can_be_replaced(folder, tmp_path):
    own = tmp_path / "own.yaml"
    from pathlib import Path

    import dftfast.prepare.asking as asking

    written = Path(asking.__file__).with_name("prompts.yaml").read_text()
    own.write_text(written.replace("You write briefs.", "Thou writest briefs."))
    with ChatServer(good) as server:
        prepare(folder, tmp_path / "c.jsonl", server, "--prompts", str(own))
        assert any(r["messages"][0]["content"].startswith("Thou") for r in server.requests)
        own.write_text(written.replace("$variant", "short"))
        with pytest.raises(UserError, match=r"own.yaml: brief_document: expected .* \$variant and"):
            prepare(folder, tmp_path / "c.jsonl", server, "--prompts", str(own))


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--clean", "model"], "--clean model: give the model"),
        (["--briefs", "model"], "--briefs model: give the model"),
        (["--model", "x", "--endpoint", "a=http://x,m"], "not both"),
        (["--endpoint", "nonsense"], "--endpoint"),
    ],
)
def test_options_that_do_not_go_together(folder, tmp_path, options, complaint):
    with pytest.raises(UserError, match=complaint):
        main([str(folder), "--out", str(tmp_path / "c.jsonl"), *options])
