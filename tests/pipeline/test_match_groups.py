"""Matching within groups of prompts, from the rows of a corpus to the report."""

from __future__ import annotations

import json
import logging

import pytest
from tiny_run import flags, options, short_docstrings, short_options

from dftfast.config import parse_command_line
from dftfast.data.split import hash_share
from dftfast.dft import paired_views
from dftfast.distribution import grouped
from dftfast.pipeline import Run, match_groups
from dftfast.pipeline.match_groups import check_groups
from dftfast.runtime.errors import UserError
from dftfast.train import main


def genre_of(title: str) -> str:
    """Two of three are functions; classes are too few to stand alone."""
    if title.rpartition(".")[2][0].isupper():
        return "class"
    return "method" if hash_share(title, "genre") < 0.4 else "function"


@pytest.fixture(scope="module")
def with_genres(tmp_path_factory):
    """The docstrings with a genre of three, and for some rows none."""
    path = tmp_path_factory.mktemp("genres") / "genres.jsonl"
    rows = [row | {"genre": genre_of(row["title"])} for row in short_docstrings()]
    for row in rows[::40]:
        row["genre"] = " "
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of a corpus as small as this one may stand alone."""
    for module in (grouped, match_groups):
        monkeypatch.setattr(module, "LEAST_PROMPTS", 6)
        monkeypatch.setattr(module, "LEAST_TEXTS", 20)
    monkeypatch.setattr(paired_views, "LEAST_ANSWERS", 4)


@pytest.mark.parametrize(
    "field, change, message",
    [
        ("use_case", {}, "no training text has the field use_case"),
        ("style", {}, "'terse' is the only style"),
        ("genre", {}, "no genre has 100 of the reference texts and 40 prompts a phase"),
        ("genre", {"dft.reference_texts": 1}, "has 1 of the 3 values of genre; shuffle the rows"),
        ("genre", {"dft.target": "a.target:1"}, "a target does not say which genre"),
        ("genres", {}, "dft.match_within"),
    ],
)
def test_what_makes_no_groups_is_refused(model, with_genres, tmp_path, field, change, message):
    styled = tmp_path / "styled.jsonl"
    rows = [json.loads(line) | {"style": "terse"} for line in with_genres.open()]
    styled.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = flags({"dft.match_within": field, **change})
    with pytest.raises(UserError, match=message) as refused:
        main([*short_options(model, styled), *given, f"--out={tmp_path / 'run'}"])
    assert "dft.match_within" in str(refused.value) and not (tmp_path / "run").exists()


def test_off_by_default_and_where_groups_are_large_enough(model, with_genres, small_groups):
    common = short_options(model, with_genres)
    assert parse_command_line(common).dft.match_within is None
    check_groups(Run(parse_command_line(common)))
    check_groups(Run(parse_command_line([*common, "--dft.match_within=genre"])))
    check_groups(Run(parse_command_line([*common, "--dft.match_within=none"])))


def test_a_run_within_genres(model, with_genres, small_groups, tmp_path, caplog):
    small = {"dft.match_within": "genre", "dft.phases": 1, "dft.prompts": 60, "sft.epochs": 2}
    out = tmp_path / "run"
    few = {"dft.candidates": 2, "dft.validation_prompts": 24, "evaluation.rounds": 20}
    with caplog.at_level(logging.INFO, "dftfast"):
        main([*options(model, with_genres, out), *flags(small | few)])
    start, phase = json.loads((out / "dft" / "phases.json").read_text())
    matched = {part["group"]: part["prompts"] for part in phase["matched"]}
    assert {"method", "function", None} <= matched.keys() and sum(matched.values()) <= 60
    assert f"function ({matched['function']} prompts)" in caplog.text
    for record in (start, phase):
        assert {"method", "function"} <= record["groups"].keys()
        for group in record["groups"].values():
            assert group["validation"].keys() == record["validation"].keys() == group["z"].keys()
    answered = [group["prompts"] for group in phase["groups"].values()]
    assert all(4 <= count < 24 for count in answered) and sum(answered) <= 24
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h3>Within groups</h3>" in page and "<td>function</td><td>1</td>" in page
    rows = [line for line in (out / "report.md").read_text().splitlines() if "| function |" in line]
    assert len(rows) == 2
