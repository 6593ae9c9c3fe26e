"""Generations are written whole, read back unchanged, and checked line by line."""

from __future__ import annotations

import json

import pytest

from dftfast.data import Document
from dftfast.data.generations import generation, read_draws, read_generations, write_generations
from dftfast.runtime.errors import UserError

ROW = generation(
    Document(id="a", text="", prompt="Tea", target_words=20),
    "Caf\u00e9 \u2014 tea.\nYes",
    [5, 6, 2],
    "stop",
    {"temperature": 1.0},
    "m",
)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    write_generations(path, [ROW, ROW | {"id": "b", "text": ""}])
    assert read_generations(path) == [ROW, ROW | {"id": "b", "text": ""}]
    assert ROW["prompt"].endswith("Prompt: Tea\nLength: about 20 words\nEm dashes: not allowed")


def test_rows_of_other_tools(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text(
        '{"id": 3, "text": "x", "score": 1, "token_ids": null}\n\n{"id": "4", "text": "y"}\n'
    )
    assert [(row["id"], row["text"]) for row in read_generations(path)] == [("3", "x"), ("4", "y")]


def test_draws_are_the_first_and_second_text_of_each_id(tmp_path):
    path, row = tmp_path / "out.jsonl", lambda i, text: ROW | {"id": i, "text": text}
    first, second = ([row("b", f"b{k}"), row("a", f"a{k}")] for k in (1, 2))
    write_generations(path, [*first, *reversed(second)])  # a draw after another
    assert read_draws(path) == [first, second]
    write_generations(path, [first[0], second[0], first[1], second[1]])  # prompt by prompt
    assert read_draws(path) == [first, second]
    write_generations(path, first)
    assert read_draws(path) == [first]
    write_generations(path, [*first, second[1]])
    with pytest.raises(UserError, match="id 'a' has 2 texts and id 'b' has 1"):
        read_draws(path)


def test_nothing_is_left_of_a_failed_write(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with pytest.raises(TypeError):
        write_generations(path, [ROW, {"id": object()}])
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "row, complaint",
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ({"text": "x"}, "id: missing"),
        ({"id": True, "text": "x"}, "id: missing, or neither"),
        ({"id": "b"}, "text: missing"),
        ({"id": "b", "text": 3}, "text: missing, or not a string"),
        ({"id": "b", "text": "half \ud83d"}, "text: contains half of a surrogate pair"),
        ({"id": "b", "text": "x", "prompt": "\udc00"}, "prompt: contains half"),
        ({"id": "b", "text": "x", "token_ids": [1, -1]}, "token_ids: expected a list of token ids"),
        ({"id": "b", "text": "x", "token_ids": "12"}, "token_ids: expected a list of token ids"),
        ({"id": "b", "text": "x", "sampler": 1}, "sampler: expected an object"),
        ({"id": "b", "text": "x", "prompt": []}, "prompt: expected a string"),
        (ROW, "id: 'a' was used before"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, complaint):
    path = tmp_path / "out.jsonl"
    path.write_text(
        json.dumps(ROW) + "\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n"
    )
    with pytest.raises(UserError, match=complaint) as caught:
        read_generations(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")


def test_empty_file(tmp_path):
    (tmp_path / "out.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no generation in it"):
        read_generations(tmp_path / "out.jsonl")
