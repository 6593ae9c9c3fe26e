"""Answers are kept as they come: of a local model, and through a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from byte_model import save_byte_model
from chat_server import ChatServer
from prepare.model_server import good, prepare
from prepare.stories import story, write_stories

from dftfast.prepare.arguments import main

pytest.importorskip("openai")


@pytest.fixture
def folder(tmp_path):
    return write_stories(tmp_path / "docs", 12)


def test_a_folder_on_this_machine_is_asked_by_the_engine(tmp_path, capsys, monkeypatch):
    """A random model writes nothing of use: what it wrote is kept, and the rules do the work."""
    folder = write_stories(tmp_path / "docs", 5, frame=False)
    model = save_byte_model(tmp_path / "model", context=8192)
    monkeypatch.setattr("dftfast.prepare.model_cleaning._TOKENS", 8)
    monkeypatch.setattr("dftfast.prepare.model_briefs._TOKENS", 8)
    out = tmp_path / "c.jsonl"
    command = [str(folder), "--model", str(model), "--out", str(out), "--yes", "--device", "cpu"]
    main(command)
    assert " minutes on this machine" in capsys.readouterr().err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["text"] for row in rows] == [story(i) for i in range(5)]
    answers = (tmp_path / "c.jsonl.answers").read_text().splitlines()
    assert len(answers) == 5 * 2 * 3  # two questions, three attempts

    def no_model(*arguments):
        raise AssertionError("asked again")

    monkeypatch.setattr("dftfast.prepare.askers.LocalAsker._loaded", no_model)
    first = out.read_bytes()
    main(command)
    assert out.read_bytes() == first


def test_a_document_that_does_not_fit_the_model_is_left_to_the_rules(tmp_path):
    folder = write_stories(tmp_path / "docs", 2, frame=False)
    model = save_byte_model(tmp_path / "model", context=256)
    out = tmp_path / "c.jsonl"
    main([str(folder), "--model", str(model), "--out", str(out), "--yes", "--device", "cpu"])
    counts = json.loads((tmp_path / "prepared.json").read_text())
    assert counts["rows"] == 2 and counts["model"]["no answer"] == 4


@pytest.mark.parametrize("most", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_instant_the_same_command_goes_on(folder, tmp_path, most):
    """SIGKILL at so many moments: the same corpus, and no answer that had come asked again."""
    answered = Counter()

    def count(request, number):
        time.sleep(0.02)
        answered[json.dumps(request["messages"])] += 1
        return good(request)

    with ChatServer(count) as server:
        prepare(folder, tmp_path / "whole" / "c.jsonl", server)
        expected, asked = (tmp_path / "whole" / "c.jsonl").read_bytes(), set(answered)
        answered.clear()
        out = tmp_path / "killed" / "c.jsonl"
        where = ["--endpoint", f"local={server.url},m", "--out", str(out), "--concurrency", "2"]
        command = [sys.executable, "-m", "dftfast.prepare", str(folder), *where, "--yes"]
        rng, kills = random.Random(0), 0
        while kills < most:
            seen = len(server.requests)
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            wait_until(lambda: len(server.requests) > seen or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.02))
            os.kill(process.pid, signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            assert not out.exists() or out.read_bytes() == expected
            if out.exists():
                break
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert out.read_bytes() == expected and set(answered) == asked
    assert sum(answered.values()) - len(asked) <= 2 * kills  # those under way at a kill
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def wait_until(holds, seconds=120):
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.002)
