"""The whole job on a tiny random Qwen3 with a tokenizer of its own, on docstrings of the standard library."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from dftfast.config import load_config
from dftfast.dft.selection import first_weights, selection_phase
from dftfast.dft.validation import ValidationScorer
from dftfast.distribution.mmd import MMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import make_terms, select_population
from dftfast.model.lora import remove_adapter
from dftfast.optimise.likelihood import nats_per_token
from dftfast.optimise.packing import Example
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import phase_context
from dftfast.runtime.command import run
from dftfast.train import main

SPECIAL = ["<pad>", "<start>", "<end>"]
TEMPLATE = "{% for m in messages %}<start>{{ m.content[-40:] }}{% endfor %}{% if add_generation_prompt %}<start>{% endif %}"
MODULES = (
    "argparse",
    "datetime",
    "decimal",
    "email.message",
    "logging",
    "pathlib",
    "subprocess",
    "tarfile",
    "zipfile",
    "threading",
    "unittest.case",
    "unittest.mock",
    "socket",
    "ssl",
    "tempfile",
    "shutil",
    "typing",
    "inspect",
    "doctest",
    "difflib",
    "fractions",
    "statistics",
    "random",
    "heapq",
    "ipaddress",
    "http.client",
)


def short_docstrings():
    """First lines of docstrings, 4 to 16 words."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                line = (ast.get_docstring(node) or "").split("\n")[0]
                if 4 <= len(line.split()) <= 16:
                    found.setdefault(line, f"{module.__name__}.{node.name}")
    return [{"text": text, "title": title} for text, title in sorted(found.items())]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in short_docstrings()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("model")
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([json.loads(line)["text"] for line in open(corpus)], trainer)
    torch.manual_seed(0)
    sizes = dict(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        head_dim=16,
    )
    config = transformers.Qwen3Config(
        vocab_size=core.get_vocab_size(),
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=2,
        **sizes,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    core.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<end>", "chat_template": TEMPLATE})
    )
    return folder


def options(model, corpus, out):
    settings = {
        "model.name": model,
        "model.dtype": "float32",
        "model.device": "cpu",
        "data.train": corpus,
        "run.folder": out,
        "data.validation_share": 0.15,
        "data.held_out_share": 0.15,
        "evaluation.embedder": "character-ngrams",
        "sft.method": "full",
        "sft.learning_rates": 0.01,
        "sft.epochs": 6,
        "sft.batch_tokens": 1024,
        "sweep.temperatures": "0.7,1.0",
        "sweep.prompts": 40,
        "evaluation.prompts": 40,
        "evaluation.rounds": 40,
        "dft.phases": 1,
        "dft.prompts": 120,
        "dft.candidates": 6,
        "dft.learning_rate": 0.01,
        "dft.epochs": 3,
        "dft.batch_tokens": 1024,
        "dft.validation_prompts": 40,
        "dft.rank": 8,
        "dft.alpha": 8,
        "dft.bake_temperature": 1.0,
    }
    return [f"--{key}={value}" for key, value in settings.items()]


@pytest.fixture(scope="module")
def finished(model, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    main(options(model, corpus, out))
    return out


def test_every_stage_leaves_its_output(finished):
    assert set(json.loads((finished / "stages.json").read_text())) == {
        "sft",
        "sweep",
        "dft",
        "report",
    }
    results = json.loads((finished / "results.json").read_text())
    assert set(results["systems"]) == {
        f"full lr=0.01 data=1 T={t} top-p=1 top-k=0" for t in ("0.7", "1")
    } | {"dft"}
    assert results["super_baseline"] and results["verdicts"]
    merged = transformers.AutoModelForCausalLM.from_pretrained(finished / "merged")
    assert merged.config.model_type == "qwen3"
    phases = json.loads((finished / "dft" / "phases.json").read_text())
    assert [record["phase"] for record in phases] == [0, 1]
    assert (finished / "dft" / "phase-1" / "adapter_model.safetensors").exists()
    assert "<html" in (finished / "report.html").read_text() and (finished / "config.yaml").exists()
    stages = {json.loads(line)["stage"] for line in open(finished / "log.jsonl")}
    assert {"sft full lr=0.01 data=1", "dft 1", "dft"} <= stages


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
    arguments = [*options(model, corpus, out), "--dft.epochs=1"]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr("dftfast.pipeline.stage_dft.run_phases", interrupt)
        run(main)
    assert stopped.value.code == 130 and "stopped" in capsys.readouterr().err
    assert "dft" not in json.loads((out / "stages.json").read_text())
    main(arguments)
    assert json.loads((out / "stages.json").read_text()).keys() == {"sft", "sweep", "dft", "report"}
    same = "sft/full lr=0.01 data=1/model.safetensors"
    assert (out / same).stat().st_mtime_ns == (finished / same).stat().st_mtime_ns


def test_each_tuning_prompt_is_answered_so_many_times(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    overrides = [("run.folder", str(out)), ("dft.validation_samples", "3")]
    job = Run(load_config(files=[out / "config.yaml"], overrides=overrides))
    context = phase_context(job, job.path / "dft")
    scorer = ValidationScorer(context, [])
    scorer.measure("start")
    answers = scorer.measured["start"]
    count = Counter(answers.prompt)
    assert max(count.values()) == 3 and set(count) <= set(range(len(context.validation)))
    assert len(set(answers.samples.texts)) > len(context.validation)


def test_policy_gradient_and_baselines(finished, model, corpus, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    names = ["best_of_k", "hidden_mmd", "iq_learn", "select", "spin", "target_kl", "textgail"]
    small = {
        "dft.method": "policy_gradient",
        "dft.prompts": 24,
        "dft.candidates": 3,
        "dft.epochs": 1,
        "dft.gradient.rounds": 2,
        "dft.gradient.prompts": 8,
        "dft.gradient.reuse": 2,
        "dft.weights.conditional_mmd": 0.5,
        "dft.weights.coverage": 0.5,
        "baselines.methods": ",".join(names),
    }
    main([*options(model, corpus, out), *(f"--{key}={value}" for key, value in small.items())])
    record = json.loads((out / "results.json").read_text())
    baselines = {f"baseline {name}" for name in names}
    assert baselines <= set(record["systems"])
    assert not baselines & {best["system"] for best in record["super_baseline"].values()}
    assert len(json.loads((out / "dft" / "phases.json").read_text())[1]["rounds"]) == 2
    for name in names:
        phases = out / "baselines" / name / "phases.json"
        assert phases.exists() == (name != "select")


def test_profile_names_every_stage_and_changes_no_result(finished, model, corpus, tmp_path, caplog):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with caplog.at_level("INFO", "dftfast"):
        main(
            [
                *options(model, corpus, out),
                "--dft.epochs=1",
                "--run.activation_checkpointing=0.5",
                "--profile",
            ]
        )
    rows = dict(
        line.split()[:2] for line in (out / "profile" / "stages.txt").read_text().splitlines()
    )
    stages = ("rollout", "embed", "discrepancy", "forward", "backward", "optimiser")
    assert all(float(rows[stage]) > 0 for stage in stages) and "rollout" in caplog.text
    assert (out / "profile" / "update.json.gz").stat().st_size > 1000
    assert (out / "generations" / "sft").stat().st_mtime_ns == (
        finished / "generations" / "sft"
    ).stat().st_mtime_ns


def test_both_methods_shares_of_data_and_every_sampler_in_one_run_that_goes_on(
    model, corpus, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    small = {
        "sft.method": "lora,full",
        "sft.fractions": "0.5,1",
        "sft.epochs": 1,
        "sft.learning_rates": 0.003,
        "sft.full_learning_rates": 0.001,
        "sft.rank": 4,
        "sweep.top_p": "0.9,1",
        "sweep.top_k": "0,20",
        "sweep.temperatures": 0.9,
        "sweep.prompts": 20,
        "evaluation.prompts": 20,
        "dft.prompts": 24,
        "dft.candidates": 2,
        "dft.epochs": 1,
    }
    arguments = [
        *options(model, corpus, out),
        *(f"--{key}={value}" for key, value in small.items()),
    ]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    answer, done = Run.answer, []
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(
            Run,
            "answer",
            lambda self, *given: (
                done.append(answer(self, *given)) if len(done) < 2 else interrupt()
            ),
        )
        run(main)
    before = {path: path.stat().st_mtime_ns for path in (out / "generations" / "sft").iterdir()}
    assert len(before) == 8
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not sampled again
    systems = json.loads((out / "results.json").read_text())["systems"]
    checkpoints = {
        "lora lr=0.003 data=0.5",
        "lora lr=0.003 data=1",
        "full lr=0.001 data=0.5",
        "full lr=0.001 data=1",
    }
    assert set(systems) == {
        f"{c} T=0.9 top-p={p} top-k={k}" for c in checkpoints for p in ("0.9", "1") for k in (0, 20)
    } | {"dft"}
    assert all(figures["copied"]["value"] is not None for figures in systems.values())
    page = (out / "report.html").read_text()
    assert (
        "By top-p" in page
        and "By top-k" in page
        and "By temperature" not in page
        and "Effect of the amount" in page
    )
    assert (
        len(list((out / "embeddings").iterdir())) == len(systems) + 1
    )  # both embedders are the same here


def interrupt(*_):
    raise KeyboardInterrupt


def test_selection_lowers_the_discrepancy_to_unseen_texts_and_a_phase_moves_the_policy(
    finished, model, corpus
):
    run_options = [
        option.removeprefix("--").split("=", 1) for option in options(model, corpus, finished)
    ]
    job = Run(load_config(overrides=run_options))
    context = phase_context(job, finished / "dft")
    prompts = [example.prompt for example in context.phase_prompts(1)]
    rollouts = context.sample(
        prompts, [1.0] * context.settings.candidates, context.seed + 1, "again"
    )
    terms = make_terms(
        rollouts.samples,
        context.human,
        context.policy.decoder.config.vocab_size,
        {"mmd": 1.0, "ngram": 1.0},
    )
    chosen, _ = select_population(rollouts.prompt, terms, seed=context.seed + 1)

    unseen = job.samples(job.split.held_out)
    at_random = np.random.default_rng(0)
    for discrepancy in (MMD(), NGramL2(context.policy.decoder.config.vocab_size, sizes=(1,))):
        discrepancy.fit(unseen)
        random_values = [
            discrepancy.value(
                rollouts.samples.select(
                    [at_random.choice(group) for group in groups_of(rollouts.prompt)]
                )
            )
            for _ in range(5)
        ]
        assert discrepancy.value(rollouts.samples.select(chosen)) < min(random_values)

    def nats(index):
        examples = [
            Example(prompts[rollouts.prompt[i]], rollouts.samples.tokens_of(i)) for i in index
        ]
        return nats_per_token(context.policy.decoder, examples)

    object.__setattr__(
        context.settings, "weights", type(context.settings.weights)(classifier=0, style=0, length=0)
    )
    object.__setattr__(
        context.settings, "contrast", 0.2
    )  # with 1, or with a third of the passes, the chosen gain
    object.__setattr__(
        context.settings, "epochs", 9
    )  # little more than what the order of threads makes of a run
    weights, overshoot = first_weights(context), context.settings.overshoot
    chosen, rejected = (
        select_population(rollouts.prompt, terms, context.seed + 1, aim, weights)[0]
        for aim in (overshoot, -2 - overshoot)
    )
    before = nats(chosen), nats(rejected)
    selection_phase(context, 1)
    after = nats(chosen), nats(rejected)
    assert before[0] - after[0] > 0.02
    assert before[0] - after[0] > before[1] - after[1] + 0.02
    remove_adapter(context.policy.decoder)


def groups_of(prompt):
    prompt = np.asarray(prompt)
    return [np.flatnonzero(prompt == p) for p in np.unique(prompt)]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data.train": "missing.jsonl"}, "missing.jsonl"),
        ({"model.name": "no/such/folder/here"}, "no/such/folder/here"),
        ({"dft.candidatez": "3"}, "dft.candidates"),
        ({"sft.rank": "many"}, "sft.rank"),
        ({"data.limit": "9"}, "too small"),
        ({"run.shard": "true"}, "torchrun"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    model, corpus, tmp_path, monkeypatch, capsys, change, message
):
    out = tmp_path / "run"
    arguments = [
        *options(model, corpus, out),
        *(f"--{key}={value}" for key, value in change.items()),
    ]
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
        (b'{"text": "words without a title"}', "title"),
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
    assert (
        stopped.value.code == 2 and "bad.jsonl" in error and "line 3" in error and message in error
    )


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
