"""The generate command: its rows, and bad input as one line with exit status 2 and no file left."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from byte_model import save_byte_model
from generate_rows import options, read, save_prompts
from tokenizers import Tokenizer

from dftfast import generate
from dftfast.generate_options import make_parser
from dftfast.pipeline.answers import select
from dftfast.runtime.command import run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts(tmp_path):
    return save_prompts(tmp_path / "prompts.jsonl")


def test_rows(model, prompts, tmp_path):
    out = tmp_path / "new" / "generations.jsonl"
    more = "--top-k 40 --temperature 0.7 --seed".split()
    generate.main(options(model, prompts, out, *more, "3"))
    rows = read(out)
    assert [row["id"] for row in rows] == ["a", "b"]
    assert "Prompt: Tea\nLength: about 20 words" in rows[0]["prompt"] and rows[1]["prompt"] == "Go"
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for row in rows:
        assert row["finish_reason"] == ("stop" if row["token_ids"][-1] == 2 else "length")
        assert 0 < len(row["token_ids"]) <= 12 and row["model"] == str(model)
        assert row["text"] == tokenizer.decode(row["token_ids"], skip_special_tokens=True).strip()
        sampler = {"temperature": 0.7, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
        assert row["sampler"] == sampler | {"max_tokens": 12, "seed": 3}
    again, other = tmp_path / "again.jsonl", tmp_path / "other.jsonl"
    generate.main(options(model, prompts, again, *more, "3"))
    generate.main(options(model, prompts, other, *more, "4"))
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
    wanted = {"target_modules": "all-linear", "init_lora_weights": False}
    tuned = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=16, **wanted))
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


def test_select_keeps_the_texts_that_are_together_like_the_corpus(model, tmp_path):
    human = tmp_path / "human.jsonl"
    texts = [f"A person wrote this short note, number {i}. It ends here." for i in range(60)]
    notes = [{"id": str(i), "text": text, "title": "Note"} for i, text in enumerate(texts)]
    human.write_text("".join(json.dumps(note) + "\n" for note in notes))
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
    more = ["--n", "4", "--select", str(human), "--embedder", "character-ngrams"]
    parsed = make_parser().parse_args(options(model, human, "out", *more))
    kept = select(rows, parsed)
    assert [row["id"] for row in kept] == [*map(str, range(20)), "cut"]
    assert kept[-1]["text"] == "cut 0"
    assert sum(row["text"].startswith("A person") for row in kept[:-1]) >= 18
    assert all("sample" not in row for row in kept)


def test_lines_of_a_text_file_are_its_prompts(model, tmp_path):
    text = "\ufeffWrite a poem\r\nOn\u2028two\x0clines\n"
    (tmp_path / "prompts.txt").write_bytes(text.encode())
    generate.main(options(model, tmp_path / "prompts.txt", tmp_path / "out.jsonl"))
    rows = read(tmp_path / "out.jsonl")
    assert [row["prompt"] for row in rows] == ["Write a poem", "On\u2028two\x0clines"]


def test_an_answer_depends_on_the_id_not_on_the_row(model, tmp_path):
    rows = [{"id": f"mail-{i}", "prompt": f"Write {i}"} for i in range(6)]
    texts = []
    for name, part in (("all", rows), ("some", [rows[4], rows[1]])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
        out = tmp_path / f"{name}.out.jsonl"
        generate.main(options(model, tmp_path / f"{name}.jsonl", out))
        texts.append({row["id"]: row["token_ids"] for row in read(out)})
    assert texts[1] == {identifier: texts[0][identifier] for identifier in ("mail-4", "mail-1")}


def test_a_prompt_without_room_is_left_out_on_request(model, tmp_path):
    rows = [{"id": "ok", "prompt": "Hi"}, {"id": "long", "prompt": "Hi " * 2000}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out.jsonl"
    generate.main(options(model, tmp_path / "p.jsonl", out, "--skip-bad-lines"))
    assert [row["id"] for row in read(out)] == ["ok"]


def test_near_the_end_of_the_context_the_answer_is_cut(model, tmp_path):
    (tmp_path / "p.txt").write_text("x" * 4085 + "\n")
    out = tmp_path / "out.jsonl"
    generate.main(options(model, tmp_path / "p.txt", out, "--max-tokens", "50"))
    [row] = read(out)
    assert len(row["token_ids"]) <= 4096 - 4087 and row["sampler"]["max_tokens"] < 50


def truncated(model, tmp_path):
    copy = tmp_path / "truncated"
    shutil.copytree(model, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return copy


def nothing(model, prompts, folder):
    """What is bad is an option."""


BAD = {  # name -> (what makes it so, of the model, the prompts and the folder; options; complaint)
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
    "missing model": (nothing, ["--model", "./absent"], "no such folder"),
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
    "output is there": (
        lambda m, p, t: (t / "old.jsonl").write_text("mine"),
        ["--out", "{t}/old.jsonl"],
        "is there already",
    ),
    "seed": (nothing, ["--seed", "9223372036854775808"], "--seed: 9223372036854775808"),
    "both kinds of prompts": (nothing, ["--prompt", "Hi"], "--prompts FILE, or --prompt TEXT"),
    "no room": (nothing, ["--cache-tokens", "0"], "--cache-tokens must be at least 1"),
    "UTF-16": (
        lambda m, p, t: p.write_bytes('{"title": "x"}'.encode("utf-16")),
        [],
        "UTF-16",
    ),
    "long prompt": (
        lambda m, p, t: p.write_text(
            '{"id": "ok", "prompt": "Hi"}\n{"id": "mail-7", "prompt": "' + "Hi " * 2000 + '"}\n'
        ),
        [],
        "prompt 'mail-7': 6002 tokens leave no room for an answer in the model's context of 4096",
    ),
    "missing adapter": (nothing, ["--adapter", "{t}/absent"], "absent"),
    "adapter of nothing": (
        lambda m, p, t: (t / "a").mkdir(),
        ["--adapter", "{t}/a"],
        "adapter_config.json",
    ),
    "temperature": (nothing, ["--temperature", "-1"], "temperature"),
    "top-p": (nothing, ["--top-p", "1.5"], "top_p"),
    "not a number": (nothing, ["--top-k", "many"], "--top-k: invalid int value: 'many'"),
    "unknown device": (nothing, ["--device", "gpu"], "name cpu, cuda or cuda:N"),
    "absent device": (nothing, ["--device", "cuda:99"], "CUDA devices here"),
    "no samples": (nothing, ["--n", "0"], "--n must be at least 1"),
    "unknown option": (nothing, ["--temprature", "1"], "--temprature"),
    "output is a folder": (nothing, ["--out", "{t}"], "is a folder"),
    "output below a file": (nothing, ["--out", "{t}/prompts.jsonl/x.jsonl"], "cannot be made"),
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
