"""Files of generations, and the evaluate command on them."""

import json
import sys

import pytest

from dftfast import evaluate
from dftfast.runtime.command import run


def save(path, texts, **columns):
    rows = [
        {"id": i, "text": t, "prompt": p, **{k: v[n] for k, v in columns.items()}}
        for n, (i, t, p) in enumerate(zip(texts.ids, texts.texts, texts.prompts))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def arguments(outputs, human, *options):
    """The command line of the evaluate command."""
    embedder = ["--embedder", "character-ngrams", "--rounds", "40"]
    return [*map(str, outputs), "--reference", str(human), *embedder, *options]


def refused(given, message, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["evaluate", *given])
    with pytest.raises(SystemExit) as exit_:
        run(evaluate.main)
    error = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2
    assert error[-1].startswith("error: ") and message in error[-1], error[-1]
