"""The whole job on a tiny model: what each stage leaves, and what another start skips."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import transformers
from tiny_run import flags, interrupt, options

from dftfast.baselines import BASELINES
from dftfast.config import load_config, parse_command_line
from dftfast.dft.validation import ValidationScorer
from dftfast.distribution.mmd import MMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import make_terms, select_population
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import phase_context, unseen_views
from dftfast.runtime.command import run
from dftfast.train import main


@pytest.fixture(scope="module")
def finished(model, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    main(options(model, corpus, out))
    return out


def test_every_stage_leaves_its_output(finished):
    stages = json.loads((finished / "stages.json").read_text())
    assert set(stages) == {"sft", "sweep", "dft", "report"}
    results = json.loads((finished / "results.json").read_text())
    assert set(results["systems"]) == {
        f"full lr=0.01 data=1 epochs=6 T={t} top-p=1 top-k=0" for t in ("0.7", "1")
    } | {"dft"}
    assert results["super_baseline"] and results["verdicts"]
    merged = transformers.AutoModelForCausalLM.from_pretrained(finished / "merged")
    assert merged.config.model_type == "qwen3"
    phases = json.loads((finished / "dft" / "phases.json").read_text())
    assert [record["phase"] for record in phases] == [0, 1]
    assert (finished / "dft" / "phase-1" / "adapter_model.safetensors").exists()
    assert "<html" in (finished / "report.html").read_text() and (finished / "config.yaml").exists()
    stages = {json.loads(line)["stage"] for line in open(finished / "log.jsonl")}
    assert {"sft full lr=0.01 data=1 epochs=6", "dft"} <= stages


def test_finished_stages_are_skipped_and_changed_ones_repeated(finished, model, corpus):
    before = {
        path: path.stat().st_mtime_ns
        for path in finished.rglob("*.jsonl")
        if path.parent.name != "tensorboard"
    }
    report = (finished / "report.html").stat().st_mtime_ns
    main([*options(model, corpus, finished), "--evaluation.rounds=60"])
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before  # neither trained nor sampled again
    assert (finished / "report.html").stat().st_mtime_ns > report


def test_an_interrupted_run_stops_cleanly_and_goes_on(
    finished, model, corpus, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    arguments = [*options(model, corpus, out), "--dft.rank=4"]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr("dftfast.pipeline.stage_dft.run_phases", interrupt)
        run(main)
    assert stopped.value.code == 130 and "stopped" in capsys.readouterr().err
    assert "dft" not in json.loads((out / "stages.json").read_text())
    main(arguments)
    assert json.loads((out / "stages.json").read_text()).keys() == {"sft", "sweep", "dft", "report"}
    same = "sft/full-lr0.01-data1-epochs6/model.safetensors"
    assert (out / same).stat().st_mtime_ns == (finished / same).stat().st_mtime_ns


def test_validation_is_held_against_the_human_texts_of_the_same_prompts(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    job = Run(load_config(files=[out / "config.yaml"], overrides=[("run.folder", str(out))]))
    context = phase_context(job, job.path / "dft")
    scorer = ValidationScorer(context, [])
    record = scorer.measure(0)
    answers = scorer.last
    assert answers and answers.prompt == sorted(set(answers.prompt))
    assert record["score"] == 0 and record["z"].keys() == record["validation"].keys()
    assert {"unseen", "characters"} <= record["z"].keys()
    assert record["validation"]["unseen"] != record["validation"]["characters"]
    characters = [("evaluation.unseen_embedder", "character-ngrams")]
    assert unseen_views(Run(load_config(overrides=characters))).keys() == {"unseen"}  # none twice
    people = context.validation_human
    found = scorer.views.distances(people, scorer.views.unseen_human, list(range(len(people))))
    assert all(abs(distance.value) < 1e-6 for distance in found.values())


def test_baselines(finished, model, corpus, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    names = [*BASELINES, "select"]
    small = {"dft.prompts": 24, "dft.candidates": 3, "baselines.methods": ",".join(names)}
    main([*options(model, corpus, out), *flags(small)])
    record = json.loads((out / "results.json").read_text())
    baselines = {f"baseline {name}" for name in names}
    assert baselines <= set(record["systems"])
    assert not baselines & {best["system"] for best in record["super_baseline"].values()}
    assert len(json.loads((out / "dft" / "phases.json").read_text())[1]["steps"]) == 5
    for name in names:
        phases = out / "baselines" / name / "phases.json"
        assert phases.exists() == (name != "select")


def test_profile_names_every_stage_and_changes_no_result(finished, model, corpus, tmp_path, caplog):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with caplog.at_level("INFO", "dftfast"):
        more = ["--baselines.methods=sft_more", "--run.activation_checkpointing=0.5", "--profile"]
        more.append("--dft.rank=4")
        main([*options(model, corpus, out), *more])
    table = (out / "profile" / "stages.txt").read_text()
    rows = dict(line.split()[:2] for line in table.splitlines())
    stages = ("rollout", "embed", "discrepancy", "regression", "forward", "backward", "optimiser")
    assert all(float(rows[stage]) > 0 for stage in stages) and "rollout" in caplog.text
    assert (out / "profile" / "update.json.gz").stat().st_size > 1000
    before, after = ((folder / "generations" / "sft").stat() for folder in (finished, out))
    assert after.st_mtime_ns == before.st_mtime_ns


def test_selection_lowers_the_discrepancy_to_unseen_texts(finished, model, corpus):
    job = Run(parse_command_line(options(model, corpus, finished)))
    context = phase_context(job, finished / "dft")
    prompts = context.phase_prompts(1)
    rollouts = context.sample(prompts, 6, context.seed + 1, "again")
    vocabulary = context.policy.decoder.config.vocab_size
    aims = {"mmd": 1.0, "ngram": 1.0}
    terms = make_terms(rollouts.samples, context.human, vocabulary, aims)
    chosen, _ = select_population(rollouts.prompt, terms, seed=context.seed + 1)

    unseen = job.samples(job.split.held_out)
    at_random = np.random.default_rng(0)
    draw = lambda: [at_random.choice(group) for group in groups_of(rollouts.prompt)]
    for discrepancy in (MMD(), NGramL2(vocabulary, sizes=(1,))):
        discrepancy.fit(unseen)
        random_values = [discrepancy.value(rollouts.samples.select(draw())) for _ in range(5)]
        assert discrepancy.value(rollouts.samples.select(chosen)) < min(random_values)


def groups_of(prompt):
    prompt = np.asarray(prompt)
    return [np.flatnonzero(prompt == p) for p in np.unique(prompt)]
