"""`import dftfast` is light, and its functions work however they were imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from byte_model import save_byte_model

import dftfast
from dftfast.rollout import Sampler


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_import_is_light():
    done = python("-c", "import dftfast, sys; print(*sys.modules)")
    assert not {"torch", "numpy", "pydantic", "dftfast.train"} & set(done.stdout.split())


@pytest.mark.parametrize("name", ["train", "generate", "evaluate"])
def test_functions_are_callable_however_imported(name):
    script = f"import dftfast, dftfast.{name}; from dftfast import {name}; assert callable({name});"
    assert python("-c", f"{script} assert dftfast.{name} is {name}").returncode == 0


def test_generate(tmp_path):
    model = save_byte_model(tmp_path / "model")
    rows = dftfast.generate(["One", "Two"], str(model), sampler=Sampler(max_tokens=4), n=2)
    assert [(row["id"], row["sample"]) for row in rows] == [(i, k) for i in "12" for k in (0, 1)]
    assert all({"prompt", "text", "token_ids", "finish_reason"} <= row.keys() for row in rows)


@pytest.mark.parametrize("paired", [False, True])
def test_evaluate(paired):
    human = [f"A person wrote note {i}, with care." for i in range(12)]
    outputs = [f"Note {i}!!! By a model!!!" for i in range(12)]
    found = dftfast.evaluate(outputs, human, paired=paired, embedder="character-ngrams", rounds=50)
    assert found["mmd2"].value > 0 and ("bleu" in found) >= paired


def test_command_line():
    version, usage = python("-m", "dftfast", "--version"), python("-m", "dftfast", "--help")
    assert version.stdout == f"dftfast {dftfast.__version__}\n" and "evaluate" in usage.stdout
    wrong = python("-m", "dftfast", "trian")
    assert wrong.returncode == 2 and "did you mean 'train'?" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
    assert python("-m", "dftfast", "train", "--version").stdout == version.stdout
