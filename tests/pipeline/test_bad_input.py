"""Bad input of the main job is one line, with exit status 2, and leaves nothing behind."""

from __future__ import annotations

import shutil
import sys

import pytest
from tiny_run import flags, options

from dftfast.runtime.command import run
from dftfast.train import main


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data.train": "missing.jsonl"}, "missing.jsonl"),
        ({"model.name": "no/such/folder/here"}, "no/such/folder/here"),
        ({"dft.candidatez": "3"}, "dft.candidates"),
        ({"sft.rank": "many"}, "sft.rank"),
        ({"data.limit": "9"}, "too small"),
        ({"run.shard": "true"}, "torchrun"),
        ({"model.quantization": "nf4", "sft.method": "full"}, "four bits"),
        ({"rollout.precision": "fp8"}, "capability 8.9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    model, corpus, tmp_path, monkeypatch, capsys, change, message
):
    out = tmp_path / "run"
    arguments = [*options(model, corpus, out), *flags(change)]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stopped.value.code == 2 and len(errors) == 1 and message in errors[0]
    assert not list(out.rglob("*.*")) if out.exists() else True


@pytest.mark.parametrize(
    "line, message",
    [
        (b'{"text": "a", ', "line 3"),
        (b'{"title": "a", "text": "  "}', "text"),
        (b'{"title": "", "text": "words"}', "title"),
        (b"\xff\xfe", "line 3"),
    ],
)
def test_bad_line_is_named_with_file_line_and_field(
    model, corpus, tmp_path, monkeypatch, capsys, line, message
):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"".join(corpus.read_bytes().splitlines(keepends=True)[:2]) + line + b"\n")
    monkeypatch.setattr(sys, "argv", ["train", *options(model, bad, tmp_path / "run")])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2
    assert "bad.jsonl" in error and "line 3" in error and message in error


def test_truncated_weights_are_named(model, corpus, tmp_path, monkeypatch, capsys):
    broken = tmp_path / "model"
    shutil.copytree(model, broken)
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(sys, "argv", ["train", *options(broken, corpus, tmp_path / "run")])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and "model.safetensors" in error and "truncated" in error
