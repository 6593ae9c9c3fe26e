"""What cannot work is refused before anything is trained; what does not fit is left out."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from tiny_run import flags, options

from dftfast.config import parse_command_line
from dftfast.pipeline import Run
from dftfast.pipeline.banner import stage_work
from dftfast.pipeline.forecast import Lengths, dialled, race_seconds
from dftfast.pipeline.pace import Work
from dftfast.pipeline.report_cost import report_seconds
from dftfast.pipeline.speed import Speed, measure_speed
from dftfast.pipeline.stage_sweep import ROUNDS, answers_needed
from dftfast.pipeline.stages import check_input
from dftfast.rollout.memory import GIB
from dftfast.runtime.errors import UserError
from dftfast.train import main


@pytest.fixture
def short_model(model, tmp_path):
    """The tiny model with a context of 128 tokens."""
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    return folder


def job(model, corpus, tmp_path, **settings):
    arguments = [*options(model, corpus, tmp_path / "run"), *flags(settings)]
    return Run(parse_command_line(arguments))


def corpus_with(corpus, tmp_path, *rows):
    path = tmp_path / "corpus.jsonl"
    path.write_text(corpus.read_text() + "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_texts_beyond_the_context_are_left_out_and_named(short_model, corpus, tmp_path, caplog):
    long = [{"id": f"long-{i}", "title": "A title", "text": "many words " * 80} for i in range(3)]
    run = job(short_model, corpus_with(corpus, tmp_path, *long), tmp_path)
    with caplog.at_level(logging.WARNING):
        check_input(run)
    parts = [document for part in vars(run.split).values() for document in part]
    assert not any(document.id.startswith("long") for document in parts)
    assert "model's context of 128 tokens and are left out" in caplog.text
    assert all(f"long-{i} (" in caplog.text for i in range(3))
    for example in run.examples(parts):
        assert len(example) <= 128


def test_every_answer_has_room(short_model, corpus, tmp_path, caplog):
    """A text of more than two thirds of the context would ask for answers beyond it."""
    near = [{"id": f"near-{i}", "title": "A", "text": f"{i} words " * 16} for i in range(8)]
    run = job(short_model, corpus_with(corpus, tmp_path, *near), tmp_path)
    parts = [document for part in vars(run.split).values() for document in part]
    longest = max(len(example.prompt) for example in run.examples(parts))
    assert run.max_tokens + longest <= 128 and "answers are at most" in caplog.text


def test_with_room_the_limit_is_half_as_much_again(model, corpus, tmp_path, caplog):
    run = job(model, corpus, tmp_path)
    longest = max(document.target_tokens for document in run.split.train)
    assert run.max_tokens == int(1.5 * longest) + 1 and "answers are at most" not in caplog.text


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_model_beyond_the_memory_is_refused(method, model, corpus, tmp_path, monkeypatch):
    run = job(model, corpus, tmp_path, **{"sft.method": method})
    check_input(run)
    monkeypatch.setattr("dftfast.pipeline.room.free_memory", lambda device: GIB // 1024)
    with pytest.raises(UserError, match=r"needs .* GiB .* are free; try .*micro_tokens"):
        check_input(run)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_seen_first(model, corpus, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("dftfast.pipeline.room.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"run.folder: the run will write about .* GiB"):
        check_input(job(model, corpus, tmp_path))


def test_an_embedder_that_is_not_there_is_refused_at_the_start(model, corpus, tmp_path):
    with pytest.raises(UserError, match="no/such/embedder"):
        check_input(job(model, corpus, tmp_path, **{"evaluation.embedder": "no/such/embedder"}))


def test_a_tokenizer_of_another_model_is_refused_at_the_start(model, corpus, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][0], "content": "<new>"}
    added["id"] = len(tokenizer["model"]["vocab"])
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match=r"'<new>'.*embedding"):
        check_input(job(folder, corpus, tmp_path))


def test_a_dry_run_says_what_it_will_take_and_writes_nothing(model, corpus, tmp_path, capsys):
    main([*options(model, corpus, tmp_path / "run"), "--dry-run"])
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert {"model", "corpus", "sft", "sweep", "dft", "report", "all", "memory", "measured"} <= set(
        rows
    )
    assert not (tmp_path / "run").exists()
    assert all(len(line) <= 80 for line in text.splitlines()), text


def test_the_estimate_is_work_over_speed():
    lengths, speed = Lengths(prompt=100, text=50), Speed(trained=1500, sampled=25, embedded=10)
    assert lengths.seconds(Work(trained=30, sampled=10), speed) == 30 * 2 * 150 / 3000 + 10 * 2 + 1


def test_speeds_are_of_this_model_here(model, corpus, tmp_path):
    run = job(model, corpus, tmp_path)
    speed = measure_speed(run)
    assert speed.trained > 0 and speed.sampled > 0 and speed.embedded > 0
    assert not (tmp_path / "run").exists()


def test_the_dial_sets_the_sizes_and_a_second_start_keeps_them(
    model, corpus, tmp_path, monkeypatch
):
    speed = Speed(trained=2000.0, sampled=2000.0, embedded=200.0)
    monkeypatch.setattr("dftfast.pipeline.forecast.measure_speed", lambda run: speed)
    run = job(model, corpus, tmp_path, **{"run.minutes": 5})
    chosen = dialled(run)
    assert chosen.config.sft.max_texts != run.config.sft.max_texts
    assert chosen.split is run.split and chosen.config.run.minutes == 5
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(chosen.config.to_yaml())
    monkeypatch.setattr("dftfast.pipeline.forecast.measure_speed", None)  # not asked again
    assert dialled(job(model, corpus, tmp_path, **{"run.minutes": 5})).config == chosen.config
    assert dialled(job(model, corpus, tmp_path)).config.run.minutes is None


def test_a_race_is_counted_by_the_dial_and_by_the_dry_run(model, corpus, tmp_path):
    """40 validation prompts, 2 samplers, one variant; then 2 settings are left at most."""
    run = job(model, corpus, tmp_path, **{"sweep.race": 40})
    speed, lengths = Speed(trained=2000.0, sampled=2000.0, embedded=200.0), Lengths(20, 30)
    answers = lengths.seconds(Work(sampled=80), speed)
    assert race_seconds(run, lengths, speed) == answers + report_seconds(40, 2, ROUNDS)
    without = job(model, corpus, tmp_path)
    assert race_seconds(without, lengths, speed) == 0
    sampled = [stage_work(each)["sweep"].sampled for each in (run, without)]
    assert sampled[0] - sampled[1] == 80
    many = job(model, corpus, tmp_path, **{"sweep.race": 10**6})  # more than there are
    assert answers_needed(many, 0) == 2 * len(many.split.validation)
