"""Corpora mixed by weight, and who wrote them."""

from __future__ import annotations

import json

import pytest

from dftfast.data.authors import only_author
from dftfast.data.blend import load_blend
from dftfast.runtime.errors import UserError


def corpus(path, count, **fields):
    rows = [
        {"id": f"{path.stem}{i}", "title": "t", "text": f"text {i}", **fields} for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def share(documents):
    return sum(document.id.startswith("a") for document in documents) / len(documents)


def test_as_many_of_each_as_the_weights_allow_and_in_turn(tmp_path):
    files = [corpus(tmp_path / "a.jsonl", 90), corpus(tmp_path / "b.jsonl", 30)]
    mixed = load_blend(files, [1, 1])
    assert len(mixed) == 60 and share(mixed) == 0.5 and share(mixed[:10]) == 0.5
    mixed = load_blend(files, [9, 3])
    assert len(mixed) == 120 and share(mixed[:40]) == 0.75
    few = load_blend(files, [0.25, 0.75], limit=20)
    assert len(few) == 20 and share(few) == 0.25
    assert len({document.id for document in mixed}) == 120


def test_what_does_not_go_together_is_refused(tmp_path):
    a = corpus(tmp_path / "a.jsonl", 9)
    with pytest.raises(UserError, match="1 weights for 2 files"):
        load_blend([a, a], [1])
    with pytest.raises(UserError, match="the id 'a0' is in"):
        load_blend([a, a], [1, 1])


def test_what_has_little_in_common_is_warned_of(tmp_path, caplog):
    texts = {
        "a": ["the boat went out to sea in the evening", "it came back again"],
        "b": ["the boat came home from the sea in the morning", "it went out again"],
        "c": ["das Boot fuhr am Abend noch einmal hinaus", "dann kam es zurück"],
        "d": ["the boat went out to sea in the evening " * 9, "it came back again " * 9],
    }
    for name, each in texts.items():
        rows = [{"id": f"{name}{i}", "title": "t", "text": f"{each[i % 2]} {i}"} for i in range(30)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def warnings(*names):
        caplog.clear()
        load_blend([tmp_path / f"{name}.jsonl" for name in names], [1] * len(names))
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

    assert not warnings("a", "b")
    [languages] = warnings("a", "c")
    assert "% of their words in common" in languages and "c.jsonl" in languages
    [lengths] = warnings("a", "d")
    assert "0% of their lengths in common (5 to 10 and 37 to 82 words" in lengths
    assert len(warnings("a", "b", "c")) == 2


def test_the_only_author_by_the_fields_of_rows(tmp_path):
    one = corpus(tmp_path / "a.jsonl", 9, author="Ann  Ode", genre="x")
    assert only_author([one]) == ("author", "ann ode")
    assert only_author([one, corpus(tmp_path / "b.jsonl", 9, author="Bob")]) is None
    assert only_author([corpus(tmp_path / "c.jsonl", 9)]) is None
    assert only_author([one, corpus(tmp_path / "d.jsonl", 1)]) is None
