"""The generate command with a model behind an endpoint."""

from __future__ import annotations

import sys

import pytest
from chat_server import ChatServer, completion
from generate_rows import read, save_prompts

from dftfast import generate
from dftfast.data.generations import read_generations
from dftfast.endpoint import Budget, Limits
from dftfast.runtime.command import run
from dftfast.runtime.errors import UserError


@pytest.fixture
def prompts(tmp_path):
    return save_prompts(tmp_path / "prompts.jsonl")


def endpoint_options(server, prompts, out, *more):
    endpoint = ["--endpoint", f"mine={server.url},some/model,1,2"]
    return [*endpoint, "--prompts", str(prompts), "--out", str(out), "--max-tokens", "12", *more]


def test_texts_from_an_endpoint_are_rows_as_any_other(prompts, tmp_path, monkeypatch):
    monkeypatch.setenv("MINE_API_KEY", "sk-own")
    answer = lambda body, number: completion(
        f"<think>hm</think> Text {body['seed']} ", reason="length" if body["seed"] == 8 else "stop"
    )
    out = tmp_path / "new" / "texts.jsonl"
    with ChatServer(answer) as server:
        more = "--n 2 --seed 7 --temperature 0.6 --top-p 0.9".split()
        generate.main(endpoint_options(server, prompts, out, *more))
        body = server.requests[0]
        assert all(headers["authorization"] == "Bearer sk-own" for headers in server.headers)
    asked = {"model": "some/model", "temperature": 0.6, "top_p": 0.9, "max_tokens": 12}
    assert asked.items() <= body.items()
    assert [(row["id"], row["sample"], row["text"], row["finish_reason"]) for row in read(out)] == [
        ("a", 0, "Text 7", "stop"),
        ("a", 1, "Text 8", "length"),
        ("b", 0, "Text 7", "stop"),
        ("b", 1, "Text 8", "length"),
    ]
    row = read(out)[0]
    assert row["model"] == "some/model" and row["token_ids"] is None
    assert row["prompt"].startswith("Write the text that this brief describes")
    assert row["sampler"] == {"temperature": 0.6, "top_p": 0.9, "max_tokens": 12, "seed": 7}
    assert [p.name for p in out.parent.iterdir()] == ["texts.jsonl"]


def test_half_a_character_is_replaced(prompts, tmp_path):
    out = tmp_path / "texts.jsonl"
    with ChatServer(lambda body, number: completion("Tea \ud83d", reason="length")) as server:
        generate.main(endpoint_options(server, prompts, out))
    assert {row["text"] for row in read(out)} == {"Tea ?"}


def test_an_endpoint_that_goes_away_costs_nothing_twice(tmp_path, monkeypatch, capsys):
    limits = Limits(1, timeout=9, attempts=2, first_wait=0.01)
    monkeypatch.setattr("dftfast.endpoint.limits_of", lambda options: (limits, Budget()))
    (tmp_path / "prompts.txt").write_text("".join(f"Prompt {i}\n" for i in range(6)))
    out = tmp_path / "texts.jsonl"
    answer = lambda body, number: completion(
        body["messages"][0]["content"].replace("Prompt", "Text")
    )
    some = lambda body, number: answer(body, number) if number < 3 else (503, {})
    with ChatServer(some) as server:
        arguments = endpoint_options(server, tmp_path / "prompts.txt", out)
        monkeypatch.setattr(sys, "argv", ["generate", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run(generate.main)
        assert stopped.value.code == 2 and not out.exists()
        assert "goes on from there" in capsys.readouterr().err
        server.behave = answer
        generate.main(arguments)
        assert len(server.requests) == 3 + 3 * 2 + 3
    assert [row["text"] for row in read_generations(out)] == [f"Text {i}" for i in range(6)]
    assert not (tmp_path / "texts.jsonl.partial").exists()


def test_a_cap_leaves_the_rest_for_another_day(tmp_path):
    (tmp_path / "prompts.txt").write_text("".join(f"Prompt {i}\n" for i in range(9)))
    out = tmp_path / "texts.jsonl"
    with ChatServer(lambda body, number: completion("Text", 0, 10)) as server:
        arguments = endpoint_options(
            server, tmp_path / "prompts.txt", out, "--concurrency", "1", "--max-cost"
        )
        generate.main([*arguments, "0.000170"])
        some = len(read(out))
        assert 1 <= some < 9 and len(server.requests) == some
        assert (tmp_path / "texts.jsonl.partial").exists()
        generate.main([*arguments, "1"])
        assert len(read(out)) == 9 == len(server.requests)


def test_parameters_an_endpoint_refuses(prompts, tmp_path, capsys, monkeypatch):
    """A seed is done without, as the rows say; no other temperature than asked for is taken."""

    def refuse(name):
        refusal = 422, {"detail": [{"loc": ["body", name]}]}
        return lambda body, number: refusal if name in body else completion("Text")

    out = tmp_path / "texts.jsonl"
    with ChatServer(refuse("seed")) as server:
        generate.main(endpoint_options(server, prompts, out))
        assert {row["sampler"]["seed"] for row in read(out)} == {None}
    with ChatServer(refuse("temperature")) as server:
        arguments = endpoint_options(server, prompts, tmp_path / "other.jsonl")
        monkeypatch.setattr(sys, "argv", ["generate", *arguments])
        with pytest.raises(SystemExit):
            run(generate.main)
        assert "answered none of the 2 prompts" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, complaint",
    [
        (["--model", "x"], "--model is for models on this machine"),
        (["--adapter", "x"], "--adapter"),
        (["--top-k", "5"], "--top-k"),
        (["--concurrency", "0"], "--concurrency: 0"),
        (["--max-cost", "-1"], "--max-cost: -1"),
        (["--temperature", "-1"], "temperature"),
        (["--endpoint", "http://x"], "--endpoint: 'http://x' must begin with a name"),
    ],
)
def test_options_of_an_endpoint(more, complaint, prompts, tmp_path):
    with ChatServer(lambda *_: completion("Text")) as server:
        with pytest.raises(UserError, match=complaint):
            generate.main(endpoint_options(server, prompts, tmp_path / "texts.jsonl", *more))
        assert not server.requests and not (tmp_path / "texts.jsonl").exists()
