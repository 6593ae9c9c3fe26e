"""What is generated is kept as it comes: a second start goes on, and nothing is overwritten."""

from __future__ import annotations

import pytest
from byte_model import save_byte_model
from generate_rows import options, read, save_prompts

from dftfast import generate
from dftfast.data.part_file import PartFile
from dftfast.runtime.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts(tmp_path):
    return save_prompts(tmp_path / "prompts.jsonl")


def test_what_is_written_when_it_stops_is_not_written_again(model, tmp_path, monkeypatch):
    (tmp_path / "p.txt").write_text("".join(f"Prompt {i}\n" for i in range(12)))
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    more = ["--n", "2", "--sequences", "3"]
    generate.main(options(model, tmp_path / "p.txt", whole, *more))
    add, added = PartFile.add, []

    def stopping(self, row):
        if len(added) == 7:
            raise KeyboardInterrupt
        added.append(row)
        add(self, row)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartFile, "add", stopping)
        generate.main(options(model, tmp_path / "p.txt", out, *more))
    part = tmp_path / ".out.jsonl.part"
    assert not out.exists() and part.read_text().count("\n") == 8
    part.write_bytes(part.read_bytes() + b'{"id": "9", "te')  # killed while it wrote
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "add", lambda self, row: (again.append(row), add(self, row)))
        generate.main(options(model, tmp_path / "p.txt", out, *more))
    assert len(again) == 24 - 7 and out.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_unfinished_texts_of_other_options_are_kept(model, prompts, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dftfast.pipeline.local_texts.Texts._row", interrupted)
        generate.main(options(model, prompts, out))
    with pytest.raises(UserError, match="of other options or prompts"):
        generate.main(options(model, prompts, out, "--seed", "1"))
    generate.main(options(model, prompts, out, "--seed", "1", "--overwrite"))
    assert read(out)[0]["sampler"]["seed"] == 1
    before = out.read_bytes()
    generate.main(options(model, prompts, out, "--seed", "2", "--overwrite"))
    assert out.read_bytes() != before


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_single_prompt_goes_to_the_screen_as_it_is_written(model, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Write a note\n")
    generate.main(options(model, tmp_path / "p.txt", tmp_path / "out.jsonl"))
    [row] = read(tmp_path / "out.jsonl")
    capsys.readouterr()
    more = "--max-tokens 12 --dtype float32 --device cpu".split()
    generate.main(["--model", str(model), "--prompt", "Write a note", *more])
    assert capsys.readouterr().out.strip() == row["text"]
