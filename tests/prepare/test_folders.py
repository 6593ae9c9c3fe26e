"""What stands in people's folders: names of any bytes, links, what may not be read."""

from __future__ import annotations

import json
import os

import pytest
from prepare.stories import story

from dftfast.prepare.arguments import main
from dftfast.prepare.sources import find_files
from dftfast.runtime.errors import UserError


def prepare(folder, out):
    """(rows, counts) that the command writes."""
    main([str(folder), "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return rows, json.loads((out.parent / "prepared.json").read_text(encoding="utf-8"))


NAMES = (
    b"bad\xff.txt",
    b"new\nline.txt",
    "emoji 😀.txt".encode(),
    b"[a]*?.txt",
    b"-x.TXT",
    b"<x9>.txt",
)


def test_names_of_any_bytes(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        (folder / os.fsdecode(name)).write_text(story(i))
        (folder / os.fsdecode(b"empty " + name)).write_text("")
    rows, counts = prepare(folder, tmp_path / "out" / "corpus.jsonl")
    assert {row["text"] for row in rows} == {story(i) for i in range(len(NAMES))}
    assert f"{folder}/bad?.txt" in {row["source"] for row in rows}
    assert counts["skipped"] == {"empty": len(NAMES)}
    assert "<x9>" not in (tmp_path / "out" / "prepared.html").read_text(encoding="utf-8")


def test_a_folder_of_bytes_is_a_source(tmp_path):
    folder = tmp_path / os.fsdecode(b"docs\xff")
    folder.mkdir()
    (folder / "a.txt").write_text(story(1))
    assert len(prepare(folder, tmp_path / "corpus.jsonl")[0]) == 1


def test_the_same_document_many_times(tmp_path):
    """Copies have one identifier: more than the report shows, and each with a line removed."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(120):
        (folder / f"{i}.txt").write_text(f"Share this page\n{story(i % 2)}")
    rows, counts = prepare(folder, tmp_path / "corpus.jsonl")
    assert len(rows) == 2 and counts["duplicates"] == 118


def test_links(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text(story(1))
    (folder / "again").symlink_to(".")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.txt")  # would be waited for until all ends
    rows, counts = prepare(folder, tmp_path / "corpus.jsonl")
    assert len(rows) == 1
    assert counts["skipped"] == {
        "cannot be read: No such file or directory": 1,
        "cannot be read: Too many levels of symbolic links": 1,
    }


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "docs"
    (folder / "locked").mkdir(parents=True)
    (folder / "a.txt").write_text(story(1))

    def refusing(real):
        def call(path="."):
            if not isinstance(path, int) and os.fspath(path).endswith("locked"):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return real(path)

        return call

    for name in ("scandir", "listdir"):  # the tests may run as root, who may read all
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    _, counts = prepare(folder, tmp_path / "corpus.jsonl")
    assert counts["skipped"] == {"cannot be read: Permission denied": 1}
    assert counts["examples"]["cannot be read: Permission denied"] == [f"{folder}/locked"]


def test_a_source_without_files_says_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.txt").write_text(story(1))
    for source, why in (
        ("empty", "there is no file in this folder"),
        ("pipe.txt", "neither a file nor a folder"),
        ("gone", "there is no such file, and no file of this pattern"),
    ):
        with pytest.raises(UserError, match=f"{source}: {why}"):
            find_files([str(tmp_path / source)])
