"""The steps as blocks of datatrove pipelines make the rows that the command makes."""

from __future__ import annotations

import json

import pytest
from prepare.stories import story, write_stories

from dftfast.prepare import Settings
from dftfast.prepare.arguments import main
from dftfast.prepare.datatrove_steps import stages

pytest.importorskip("datatrove")


def run(sources, folder, settings, tasks):
    from datatrove.executor import LocalPipelineExecutor

    for stage in stages(sources, folder, settings, tasks):
        logs = str(folder / "logs" / stage.name)
        LocalPipelineExecutor(stage.pipeline, stage.tasks, workers=2, logging_dir=logs).run()


def rows_of(folder, name="*.jsonl"):
    lines = [line for path in folder.glob(name) for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda row: (row["source"], row.get("id", "")))


@pytest.mark.parametrize("tasks", [2, 3])
def test_two_workers_write_the_rows_of_the_command(tmp_path, tasks):
    docs = write_stories(tmp_path / "docs", 20)
    (docs / "copy.txt").write_text(story(7).replace("the", "The"))
    (docs / "private.txt").write_text(f"{story(40)}\nWrite to ann@example.org about it.")
    (docs / "short.txt").write_text("Too short.")
    (docs / "photo.png").write_bytes(b"\x89PNG")
    main([str(docs), "--out", str(tmp_path / "one" / "c.jsonl"), "--mask"])
    run([str(docs)], tmp_path / "many", Settings(mask=True), tasks)
    rows = rows_of(tmp_path / "many" / "rows")
    assert len(rows) == 21
    assert rows == rows_of(tmp_path / "one", "c.jsonl")
    assert rows_of(tmp_path / "many" / "removed") == rows_of(tmp_path / "one", "removed.jsonl")
    [skipped] = rows_of(tmp_path / "many" / "skipped")
    assert skipped["reason"] == "unknown kind of file (.png)"


def test_a_block_of_another_kind_may_stand_between(tmp_path):
    """It sees documents of datatrove, and may drop or change them."""
    docs = write_stories(tmp_path / "docs", 12)
    [read, repeated, clean, *rest] = stages([str(docs)], tmp_path / "out", Settings(), 2)
    clean.pipeline.insert(1, drop_some)
    for stage in (read, repeated, clean, *rest):
        for rank in range(stage.tasks):
            data = None
            for block in stage.pipeline:
                data = block(data, rank, stage.tasks)
    texts = [row["text"] for row in rows_of(tmp_path / "out" / "rows")]
    assert len(texts) == 11 and all(text != story(3) for text in texts)


def drop_some(data, rank=0, world_size=1):
    yield from (document for document in data if story(3) not in document.text)
