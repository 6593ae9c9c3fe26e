"""The generate command: its rows, and bad input as one line with exit status 2 and nothing half-written."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from byte_model import save_byte_model
from chat_server import ChatServer, completion
from tokenizers import Tokenizer

from dftfast import generate
from dftfast.runtime.command import run
from dftfast.runtime.errors import UserError

PROMPTS = [
    {"id": "a", "title": "Tea", "target_words": 20},
    {"id": "b", "messages": [{"role": "user", "content": "Go"}]},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def options(model, prompts, out, *more):
    return [
        "--model",
        str(model),
        "--prompts",
        str(prompts),
        "--out",
        str(out),
        "--max-tokens",
        "12",
        "--dtype",
        "float32",
        "--device",
        "cpu",
        *more,
    ]


def test_rows(model, prompts, tmp_path):
    out = tmp_path / "new" / "generations.jsonl"
    generate.main(
        options(model, prompts, out, "--seed", "3", "--top-k", "40", "--temperature", "0.7")
    )
    rows = read(out)
    assert [row["id"] for row in rows] == ["a", "b"]
    assert "Prompt: Tea\nLength: about 20 words" in rows[0]["prompt"] and rows[1]["prompt"] == "Go"
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for row in rows:
        assert row["finish_reason"] == ("stop" if row["token_ids"][-1] == 2 else "length")
        assert 0 < len(row["token_ids"]) <= 12 and row["model"] == str(model)
        assert row["text"] == tokenizer.decode(row["token_ids"], skip_special_tokens=True).strip()
        assert row["sampler"] == {
            "temperature": 0.7,
            "top_k": 40,
            "top_p": 1.0,
            "min_p": 0.0,
            "max_tokens": 12,
            "seed": 3,
        }
    again, other = tmp_path / "again.jsonl", tmp_path / "other.jsonl"
    generate.main(
        options(model, prompts, again, "--seed", "3", "--top-k", "40", "--temperature", "0.7")
    )
    generate.main(
        options(model, prompts, other, "--seed", "4", "--top-k", "40", "--temperature", "0.7")
    )
    assert again.read_bytes() == out.read_bytes() != other.read_bytes()
    assert list(tmp_path.glob("**/*.tmp")) == []


def test_several_samples_of_plain_text_prompts(model, tmp_path):
    (tmp_path / "prompts.txt").write_text("First\n\nThird, caf\u00e9\n")
    out = tmp_path / "generations.jsonl"
    generate.main(options(model, tmp_path / "prompts.txt", out, "--n", "2"))
    rows = read(out)
    assert [(row["id"], row["sample"], row["prompt"]) for row in rows] == [
        ("1", 0, "First"),
        ("1", 1, "First"),
        ("3", 0, "Third, caf\u00e9"),
        ("3", 1, "Third, caf\u00e9"),
    ]
    assert rows[0]["token_ids"] != rows[1]["token_ids"]


def test_greedy_with_an_adapter_is_that_of_peft(model, prompts, tmp_path):
    import peft
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    torch.manual_seed(1)
    tuned = peft.get_peft_model(
        base,
        peft.LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False),
    )
    tuned.save_pretrained(tmp_path / "adapter")
    out, plain = tmp_path / "tuned.jsonl", tmp_path / "plain.jsonl"
    generate.main(
        options(model, prompts, out, "--temperature", "0", "--adapter", str(tmp_path / "adapter"))
    )
    generate.main(options(model, prompts, plain, "--temperature", "0"))
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for row in read(out):
        prompt = torch.tensor([tokenizer.encode(f"<start>{row['prompt']}<start>").ids])
        expected = tuned.generate(
            input_ids=prompt, max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        assert row["token_ids"] == expected[0, prompt.shape[1] :].tolist()
        assert row["model"] == f"{model} + {tmp_path / 'adapter'}"
    assert [row["token_ids"] for row in read(plain)] != [row["token_ids"] for row in read(out)]


def truncated(model, tmp_path):
    copy = tmp_path / "truncated"
    shutil.copytree(model, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return copy


BAD = {
    "unreadable line": (
        lambda m, p, t: p.write_text('{"title": "x"}\n{"title": \n'),
        [],
        "prompts.jsonl, line 2: not ",
    ),
    "wrong field": (
        lambda m, p, t: p.write_text('{"title": "x", "outline": 3}\n'),
        [],
        "line 1: outline: expected",
    ),
    "missing file": (lambda m, p, t: p.unlink(), [], "no such file"),
    "empty file": (lambda m, p, t: p.write_text(""), [], "no usable text"),
    "missing model": (lambda m, p, t: None, ["--model", "./absent"], "no such folder"),
    "empty model folder": (
        lambda m, p, t: (t / "empty").mkdir(),
        ["--model", "{t}/empty"],
        "no config.json",
    ),
    "truncated weights": (
        lambda m, p, t: truncated(m, t),
        ["--model", "{t}/truncated"],
        "model.safetensors",
    ),
    "missing adapter": (lambda m, p, t: None, ["--adapter", "{t}/absent"], "absent"),
    "adapter of nothing": (
        lambda m, p, t: (t / "a").mkdir(),
        ["--adapter", "{t}/a"],
        "adapter_config.json",
    ),
    "temperature": (lambda m, p, t: None, ["--temperature", "-1"], "temperature"),
    "top-p": (lambda m, p, t: None, ["--top-p", "1.5"], "top_p"),
    "not a number": (
        lambda m, p, t: None,
        ["--top-k", "many"],
        "--top-k: invalid int value: 'many'",
    ),
    "unknown device": (lambda m, p, t: None, ["--device", "gpu"], "name cpu, cuda or cuda:N"),
    "absent device": (lambda m, p, t: None, ["--device", "cuda:99"], "CUDA devices here"),
    "no samples": (lambda m, p, t: None, ["--n", "0"], "--n must be at least 1"),
    "unknown option": (lambda m, p, t: None, ["--temprature", "1"], "--temprature"),
    "output is a folder": (lambda m, p, t: None, ["--out", "{t}"], "is a folder"),
    "output below a file": (
        lambda m, p, t: None,
        ["--out", "{t}/prompts.jsonl/x.jsonl"],
        "cannot be made",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_2(name, model, prompts, tmp_path, monkeypatch, capsys):
    prepare, more, complaint = BAD[name]
    prepare(model, prompts, tmp_path)
    out = tmp_path / "generations.jsonl"
    arguments = options(model, prompts, out, *(item.replace("{t}", str(tmp_path)) for item in more))
    monkeypatch.setattr(sys, "argv", ["generate", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(generate.main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and complaint in error
    assert not out.exists() and not list(tmp_path.glob("**/*.tmp"))


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["generate"])
    with pytest.raises(SystemExit) as stopped:
        run(interrupted)
    assert stopped.value.code == 130 and capsys.readouterr().err == "stopped\n"


def test_select_keeps_the_texts_that_are_together_like_the_corpus(model, tmp_path):
    human = tmp_path / "human.jsonl"
    texts = [f"A person wrote this short note, number {i}. It ends here." for i in range(60)]
    human.write_text(
        "".join(
            json.dumps({"id": str(i), "text": t, "title": "Note"}) + "\n"
            for i, t in enumerate(texts)
        )
    )
    rows = []
    for i in range(20):
        wrong = [
            {"text": "", "finish_reason": "stop"},
            {"text": "!!" * 40 + str(i), "finish_reason": "stop"},
            {"text": texts[i], "finish_reason": "length"},
        ]
        rows += [
            {"id": str(i), "prompt": "Note", "sample": k, **row}
            for k, row in enumerate([*wrong, {"text": texts[-i - 1], "finish_reason": "stop"}])
        ]
    rows += [
        {"id": "cut", "prompt": "Note", "sample": k, "text": f"cut {k}", "finish_reason": "length"}
        for k in range(2)
    ]
    parsed = generate._parser().parse_args(
        options(
            model,
            human,
            "out",
            "--n",
            "4",
            "--select",
            str(human),
            "--embedder",
            "character-ngrams",
        )
    )
    kept = generate.select(rows, parsed)
    assert [row["id"] for row in kept] == [*map(str, range(20)), "cut"] and kept[-1][
        "text"
    ] == "cut 0"
    assert sum(row["text"].startswith("A person") for row in kept[:-1]) >= 18
    assert all("sample" not in row for row in kept)


def endpoint_options(server, prompts, out, *more):
    return [
        "--endpoint",
        f"mine={server.url},some/model,1,2",
        "--prompts",
        str(prompts),
        "--out",
        str(out),
        "--max-tokens",
        "12",
        *more,
    ]


def test_texts_from_an_endpoint_are_rows_as_any_other(prompts, tmp_path, monkeypatch):
    monkeypatch.setenv("MINE_API_KEY", "sk-own")
    answer = lambda body, number: completion(
        f"<think>hm</think> Text {body['seed']} ", reason="length" if body["seed"] == 8 else "stop"
    )
    out = tmp_path / "new" / "texts.jsonl"
    with ChatServer(answer) as server:
        generate.main(
            endpoint_options(
                server,
                prompts,
                out,
                "--n",
                "2",
                "--seed",
                "7",
                "--temperature",
                "0.6",
                "--top-p",
                "0.9",
            )
        )
        body = server.requests[0]
        assert all(headers["authorization"] == "Bearer sk-own" for headers in server.headers)
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == (
        "some/model",
        0.6,
        0.9,
        12,
    )
    assert [(row["id"], row["sample"], row["text"], row["finish_reason"]) for row in read(out)] == [
        ("a", 0, "Text 7", "stop"),
        ("a", 1, "Text 8", "length"),
        ("b", 0, "Text 7", "stop"),
        ("b", 1, "Text 8", "length"),
    ]
    row = read(out)[0]
    assert (
        row["model"] == "some/model"
        and row["token_ids"] is None
        and row["prompt"].startswith("Write the text that this brief describes")
    )
    assert row["sampler"] == {"temperature": 0.6, "top_p": 0.9, "max_tokens": 12, "seed": 7}
    assert [p.name for p in out.parent.iterdir()] == ["texts.jsonl"]


def test_half_a_character_is_replaced(prompts, tmp_path):
    out = tmp_path / "texts.jsonl"
    with ChatServer(lambda body, number: completion("Tea \ud83d", reason="length")) as server:
        generate.main(endpoint_options(server, prompts, out))
    assert {row["text"] for row in read(out)} == {"Tea ?"}


def test_an_endpoint_that_goes_away_costs_nothing_twice(tmp_path, monkeypatch, capsys):
    from dftfast.data.generations import read_generations
    from dftfast.endpoint import Budget, Limits

    monkeypatch.setattr(
        "dftfast.endpoint.limits_of",
        lambda options: (Limits(1, timeout=9, attempts=2, first_wait=0.01), Budget()),
    )
    (tmp_path / "prompts.txt").write_text("".join(f"Prompt {i}\n" for i in range(6)))
    out = tmp_path / "texts.jsonl"
    answer = lambda body, number: completion(
        body["messages"][0]["content"].replace("Prompt", "Text")
    )
    with ChatServer(
        lambda body, number: answer(body, number) if number < 3 else (503, {})
    ) as server:
        monkeypatch.setattr(
            sys, "argv", ["generate", *endpoint_options(server, tmp_path / "prompts.txt", out)]
        )
        with pytest.raises(SystemExit) as stopped:
            run(generate.main)
        assert (
            stopped.value.code == 2
            and "goes on from there" in capsys.readouterr().err
            and not out.exists()
        )
        server.behave = answer
        generate.main(endpoint_options(server, tmp_path / "prompts.txt", out))
        assert len(server.requests) == 3 + 3 * 2 + 3
    assert [row["text"] for row in read_generations(out)] == [
        f"Text {i}" for i in range(6)
    ] and not (tmp_path / "texts.jsonl.partial").exists()


def test_a_cap_leaves_the_rest_for_another_day(tmp_path):
    (tmp_path / "prompts.txt").write_text("".join(f"Prompt {i}\n" for i in range(9)))
    out = tmp_path / "texts.jsonl"
    with ChatServer(lambda body, number: completion("Text", 0, 10)) as server:
        arguments = endpoint_options(
            server, tmp_path / "prompts.txt", out, "--concurrency", "1", "--max-cost"
        )
        generate.main([*arguments, "0.000170"])
        some = len(read(out))
        assert (
            1 <= some < 9
            and len(server.requests) == some
            and (tmp_path / "texts.jsonl.partial").exists()
        )
        generate.main([*arguments, "1"])
        assert len(read(out)) == 9 == len(server.requests)


def test_parameters_an_endpoint_refuses(prompts, tmp_path, capsys, monkeypatch):
    """A seed is done without, and the rows say so; another temperature than asked for is not taken."""
    refuse = lambda name: (
        lambda body, number: (
            (422, {"detail": [{"loc": ["body", name]}]}) if name in body else completion("Text")
        )
    )
    out = tmp_path / "texts.jsonl"
    with ChatServer(refuse("seed")) as server:
        generate.main(endpoint_options(server, prompts, out))
        assert {row["sampler"]["seed"] for row in read(out)} == {None}
    with ChatServer(refuse("temperature")) as server:
        monkeypatch.setattr(
            sys, "argv", ["generate", *endpoint_options(server, prompts, tmp_path / "other.jsonl")]
        )
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
