"""Runs that are killed, stopped, refused or short of disk and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_runs import weights
from safetensors.torch import load_file
from test_pipeline import corpus, interrupt, model, options  # noqa: F401

from dftfast.config import load_config, parse_command_line
from dftfast.dft.collapse import broken_guards, copied, repetition, runs
from dftfast.dft.loop import run_phases
from dftfast.dft.stored_rollouts import generate
from dftfast.dft.validation import ValidationScorer
from dftfast.model.adapter import Adapter
from dftfast.model.lora import lora_layers
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.optimiser import Optimiser
from dftfast.pipeline import Run
from dftfast.pipeline.run_folder import RunFolder
from dftfast.pipeline.stage_dft import METHODS, phase_context
from dftfast.pipeline.stage_sft import fine_tune
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import Diverged
from dftfast.train import main

SHORT = {
    "sft.epochs": 2,
    "sft.max_texts": 60,
    "sweep.temperatures": "1.0",
    "sweep.prompts": 20,
    "evaluation.prompts": 20,
    "evaluation.rounds": 20,
    "dft.phases": 2,
    "dft.prompts": 24,
    "dft.candidates": 2,
    "dft.epochs": 2,
    "dft.validation_prompts": 8,
    "run.tensorboard": False,
    "data.limit": 250,
    "run.checkpoint_steps": 1,
    "dft.batch_tokens": 256,
    "sft.batch_tokens": 512,
    "dft.learning_rate": 0.002,
}


def short_options(model, corpus):  # noqa: F811
    return [
        *options(model, corpus, "unused"),
        *(f"--{key}={value}" for key, value in SHORT.items()),
    ]


def kill(count, model, corpus, work, *more):  # noqa: F811
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, script, str(count), "0", work, *short_options(model, corpus), *more]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count and all(run["same"] for run in found), found
    return {run["killed"] for run in found}


def test_killed_runs_end_in_the_same_weights(model, corpus, tmp_path):  # noqa: F811
    kill(3, model, corpus, tmp_path)


def test_more_phases_go_on_from_those_that_are_there(model, corpus, tmp_path, monkeypatch):  # noqa: F811
    """A run of one phase becomes the run of two, and of one again, without training a phase twice."""
    trained, original = [], METHODS["selection"]

    def counted(context, phase):
        trained.append(phase)
        return original(context, phase)

    monkeypatch.setitem(METHODS, "selection", counted)
    out = tmp_path / "run"
    arguments = [*short_options(model, corpus), f"--run.folder={out}"]
    outcome = lambda: [
        (out / name).read_bytes() for name in ("generations/dft.jsonl", "merged/model.safetensors")
    ]
    main([*arguments, "--dft.phases=1"])
    one, records = outcome(), json.loads((out / "dft" / "phases.json").read_text())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "dftfast.pipeline.stage_dft.dft_sampler", interrupt
        )  # two phases, but no answers yet
        main([*arguments, "--dft.phases=2"])
    assert json.loads((out / "stages.json").read_text()).keys() >= {"dft (unfinished)"}
    main([*arguments, "--dft.phases=2"])
    two, more = outcome(), json.loads((out / "dft" / "phases.json").read_text())
    assert trained == [1, 2] and more[:2] == records and len(more) == 3
    assert (two != one) == (min(more, key=lambda record: record.get("score", 0.0))["phase"] == 2)
    main([*arguments, "--dft.phases=1"])
    assert (
        trained == [1, 2]
        and outcome() == one
        and json.loads((out / "dft" / "phases.json").read_text()) == records
    )
    main([*arguments, "--dft.phases=1", "--dft.learning_rate=0.001"])
    assert trained == [1, 2, 1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_policy_gradient_ends_in_the_same_weights(model, corpus, tmp_path):  # noqa: F811
    small = {
        "method": "policy_gradient",
        "gradient.rounds": 12,
        "gradient.prompts": 4,
        "gradient.reuse": 2,
    }
    kill(8, model, corpus, tmp_path, *(f"--dft.{key}={value}" for key, value in small.items()))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_kills_at_random_instants(model, corpus, tmp_path):  # noqa: F811
    places = kill(30, model, corpus, tmp_path)
    assert {"write", "checkpoint", "checkpoint checksum", "merge"} <= places


def fine_tuned(model, corpus, out):  # noqa: F811
    """A run after its SFT."""
    job = Run(parse_command_line([*short_options(model, corpus), f"--run.folder={out}"]))
    with RunFolder(out):
        fine_tune(job)
    return job


@pytest.fixture(scope="module")
def tuned(model, corpus, tmp_path_factory):  # noqa: F811
    """A model that ends its texts."""
    out = tmp_path_factory.mktemp("tuned")
    fine_tuned(model, corpus, out)
    return next(out.glob("sft/*/config.json")).parent


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_runs_of_several_processes_that_are_killed(tuned, corpus, tmp_path):  # noqa: F811
    """The same number of processes goes on bit for bit, with the layers sharded or not; another number goes on, too."""
    options = [
        *short_options(tuned, corpus),
        "--sft.method=lora",
        "--sft.learning_rates=0.003",
        "--dft.bake_temperature=0.9",
    ]
    script = Path(__file__).with_name("killed_runs.py")

    def start(count, name, *more, rank=0, point="update", call=0):
        torchrun = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            count,
        ]
        command = [
            *torchrun,
            script,
            rank,
            point,
            call,
            *options,
            f"--run.folder={tmp_path / name}",
            *more,
        ]
        done = subprocess.run(
            list(map(str, command)),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) is (call == 0), done.stderr[-3000:]

    start(2, "whole")
    expected = weights(tmp_path / "whole")
    assert any(name.startswith("merged") for name in expected)
    for name, more, rank, point, call in [
        ("killed", [], 1, "update", 5),
        ("sharded", ["--run.shard=true"], 0, "checkpoint", 9),
        ("merging", [], 0, "merge", 12),
    ]:
        start(2, name, *more, rank=rank, point=point, call=call)
        start(2, name, *more)
        assert weights(tmp_path / name) == expected, name
    start(2, "three", rank=1, point="update", call=5)
    start(3, "three")
    (mine,), (theirs,) = (
        list((tmp_path / name / "sft").glob("*/*.safetensors")) for name in ("three", "whole")
    )
    mine, theirs = load_file(mine), load_file(theirs)
    assert all(
        (mine[name] - theirs[name]).norm() <= 1e-2 * theirs[name].norm() + 1e-6 for name in theirs
    )
    assert weights(tmp_path / "three").keys() == expected.keys()


@pytest.fixture(scope="module")
def context(model, corpus, tmp_path_factory):  # noqa: F811
    """What DFT starts from after a short SFT."""
    out = tmp_path_factory.mktemp("run")
    return phase_context(fine_tuned(model, corpus, out), out / "dft")


def damaged(strength):
    """A phase that learns nothing but random weights."""

    def method(context, phase):
        context.policy.begin_phase(4, 4, seed=0)
        generator = torch.Generator().manual_seed(phase)
        for module in lora_layers(context.policy.decoder).values():
            module.b.data.normal_(generator=generator).mul_(strength)
        return {"made": strength}

    return method


def diverging(context, phase):
    context.policy.begin_phase(4, 4, seed=0)
    raise Diverged("10 steps in a row had a non-finite loss")


@pytest.mark.parametrize(
    "method, reason",
    [
        (damaged(3.0), "KL|entropy|repetition|cut"),
        (damaged(float("nan")), ""),
        (diverging, "non-finite"),
    ],
)
def test_a_phase_that_goes_wrong_is_given_up_for_the_one_before(
    context, tmp_path, method, reason, caplog
):
    context.folder = tmp_path / "dft"
    context.checkpoints = lambda loop: Checkpoints(tmp_path / "checkpoints" / loop)
    before = [p.clone() for p in context.policy.decoder.parameters()]
    records = run_phases(context, method)
    assert [record["phase"] for record in records] == [0, 1] and "dropped" not in records[0]
    assert any(re.search(reason, each) for each in records[1]["dropped"])
    assert (
        json.loads((context.folder / "phases.json").read_text())[1]["dropped"]
        == records[1]["dropped"]
    )
    assert all(
        torch.equal(a, b) for a, b in zip(before, context.policy.decoder.parameters(), strict=True)
    )
    assert "phase 1 is given up" in caplog.text
    assert json.dumps(run_phases(context, method)) == json.dumps(records)  # nor is it tried again


def test_a_phase_within_the_limits_is_not_given_up(context, tmp_path):
    context.folder = tmp_path / "dft"
    context.checkpoints = lambda loop: Checkpoints(tmp_path / "checkpoints" / loop)
    record = run_phases(context, damaged(1e-4))[1]
    assert "dropped" not in record and abs(record["collapse"]["kl"]) < 0.01


def measured_by(monkeypatch, measure, likelihoods=lambda record: {}):
    monkeypatch.setattr(ValidationScorer, "measure", measure)
    with_likelihoods = lambda scorer, record: (
        record | {"collapse": {"human_nats": 3.0}} | likelihoods(record)
    )
    monkeypatch.setattr(ValidationScorer, "with_likelihoods", with_likelihoods)
    monkeypatch.setattr(ValidationScorer, "remember", lambda scorer, phase: None)


@pytest.mark.parametrize("minutes, phases", [(None, 3), (1e-9, 1)])
def test_no_phase_is_begun_beyond_the_time(context, tmp_path, monkeypatch, minutes, phases):
    context.folder = tmp_path / "dft"
    measure = lambda scorer, what: {
        "score": -float(len(scorer.records)),
        "validation": {},
        "collapse": {},
    }
    monkeypatch.setattr(
        context, "settings", context.settings.model_copy(update={"phases": 3, "minutes": minutes})
    )
    measured_by(monkeypatch, measure)
    records = run_phases(context, damaged(1e-4))
    assert len(records) == 1 + phases and all(record["minutes"] > 0 for record in records)
    assert len(run_phases(context, damaged(1e-4))) == len(records)  # nor when it goes on


@pytest.mark.parametrize(
    "aim, longest, steps, best",
    [
        (0.4, 1, [1, 0.5], 0.5),  # a quarter would be farther off: the parabola knows
        (2.0, 1, [1, 0.5], 1),
        (0.15, 1, [1, 0.5, 0.25], 0.25),
        (2.0, 0.5, [1, 0.5, 0.25], 0.5),  # the whole step would cost too much of the likelihood
        (2.0, 0.1, [1, 0.5, 0.25], None),
    ],
)
def test_a_phase_goes_as_far_as_is_best_within_its_limits(
    context, tmp_path, monkeypatch, aim, longest, steps, best
):
    context.folder, tried, checked = tmp_path / "dft", [], []

    def measure(scorer, what):
        if scorer.records:
            tried.append(context.policy.adapters[-1].scale)
        return {
            "score": (tried[-1] - aim) ** 2 - aim**2 if tried else 0.0,
            "validation": {},
            "collapse": {},
        }

    def likelihoods(record):
        if not tried:
            return {}
        checked.append(context.policy.adapters[-1].scale)
        return {"dropped": ["human texts cost too much"]} if checked[-1] > longest else {}

    monkeypatch.setattr(context, "settings", context.settings.model_copy(update={"phases": 1}))
    measured_by(monkeypatch, measure, likelihoods)
    record = run_phases(context, damaged(1e-4))[1]
    assert tried == steps and ("dropped" in record) is (best is None)
    if best is None:
        assert checked == steps
        return
    assert record["step"] == checked[-1] == best and record["score"] == pytest.approx(
        (best - aim) ** 2 - aim**2
    )
    assert (
        context.policy.adapters.pop().scale
        == Adapter.load(context.folder / "phase-1").scale
        == best
    )
    context.policy.merge_weights()


def requests(context, count):
    return [
        Request(
            i,
            context.validation[i % len(context.validation)].prompt,
            Sampler(max_tokens=12),
            seed=3,
        )
        for i in range(count)
    ]


def test_rollouts_are_sampled_once_and_in_parts(context, tmp_path, monkeypatch):
    context.engine.max_sequences, asked, original = 2, [], RolloutEngine.generate

    def counted(engine, part, progress):
        asked.append(len(part))
        return original(engine, part, progress)

    monkeypatch.setattr(RolloutEngine, "generate", counted)
    whole = generate(context.engine, requests(context, 40), tmp_path, "some")
    assert asked == [32, 8] and [len(batch) for batch in whole] == asked
    damaged = sorted(tmp_path.iterdir())[0] / "state.safetensors"
    os.truncate(damaged, damaged.stat().st_size - 1)
    again = generate(context.engine, requests(context, 40), tmp_path, "some")
    assert len(asked) == 3  # only the damaged part
    for a, b in zip(whole, again, strict=True):
        assert (
            torch.equal(a.tokens, b.tokens)
            and torch.equal(a.logprobs, b.logprobs)
            and a.finish_reason == b.finish_reason
        )
    generate(context.engine, requests(context, 40), tmp_path, "other")
    assert len(asked) == 5


def test_tasks_share_samples_of_the_same_policy_alone(context, tmp_path, monkeypatch):
    asked, original = [], RolloutEngine.generate

    def counted(engine, part, progress):
        asked.append(len(part))
        return original(engine, part, progress)

    def again(context):
        """How often one rollout of the context has to be sampled."""
        before = len(asked)
        context.sample([context.validation[0].prompt], [1.0] * 8, 3, "some")
        return len(asked) - before

    monkeypatch.setattr(RolloutEngine, "generate", counted)
    context = replace(context, rollouts=tmp_path)
    assert again(context) == 1 and again(replace(context, folder=tmp_path / "other")) == 0
    context.policy.begin_phase(4, 4, seed=0)
    adapter = context.policy.end_phase()
    assert again(context) == 1
    context.policy.adapters[-1] = replace(adapter, scale=adapter.scale / 2)
    assert again(context) == 1
    context.policy.adapters.pop()
    context.policy.temperature = 0.9
    assert again(context) == 1
    context.policy.temperature = 1.0
    assert again(context) == 0


def test_a_rollout_without_memory_goes_on_with_a_smaller_cache(
    context, tmp_path, monkeypatch, caplog
):
    expected = generate(context.engine, requests(context, 10), tmp_path / "a", "some")
    original, fails, share = (
        type(context.engine.backend).allocate,
        iter([True]),
        context.engine.memory_share,
    )

    def allocate(backend, blocks):
        if next(fails, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(backend, blocks)

    monkeypatch.setattr(type(context.engine.backend), "allocate", allocate)
    found = generate(context.engine, requests(context, 10), tmp_path / "b", "some")
    assert context.engine.memory_share == share / 2 and "out of memory" in caplog.text
    assert torch.equal(found[0].tokens, expected[0].tokens)


def test_an_exploding_loss_is_skipped_and_the_rate_halved():
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = Optimiser([weight], 0.1, 100, warmup=0.0, loss_limit=3.0)
    for loss, taken in [
        (2.0, True),
        (2.2, True),
        (50.0, False),
        (2.0, True),
        (float("nan"), False),
    ]:
        before = weight.detach().clone()
        weight.grad = torch.ones(2)
        assert optimiser.step(loss)[1] is taken and torch.equal(before, weight) is not taken
    assert optimiser.learning_rate == 0.05 and optimiser.skipped_in_a_row == 1


def test_signs_of_collapse():
    assert repetition([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4]]) == 0.0
    assert repetition([[7] * 13]) == pytest.approx(0.9)
    corpus = runs([range(100), [7] * 20, range(3)])
    assert len(corpus) == 93 + 1
    assert copied([range(10), [50, 51, 52, 53, 54, 55, 56, 57, 0], range(5)], corpus) == 4 / 5
    assert copied([range(7)], corpus) == copied([], corpus) == copied([range(10)], runs([])) == 0.0
    start = {
        "empty": 0.0,
        "cut": 0.0,
        "repetition": 0.02,
        "copied": 0.03,
        "length": 50.0,
        "entropy": 2.0,
        "human_nats": 2.5,
    }
    guards = load_config().dft.guards
    assert not broken_guards({**start, "kl": 0.3}, start, 40.0, guards)
    for change, name in [
        ({"empty": 0.2}, "empty"),
        ({"cut": 0.3}, "cut"),
        ({"repetition": 0.2}, "repetition"),
        ({"copied": 0.2}, "copied"),
        ({"length": 90.0}, "length"),
        ({"length": 15.0}, "length"),
        ({"entropy": 0.9}, "entropy"),
        ({"kl": 2.0}, "KL"),
        ({"kl": float("nan")}, "KL"),
        ({"human_nats": 2.8}, "human texts"),
    ]:
        (broken,) = broken_guards(start | change, start, 40.0, guards)
        assert broken.startswith(name)
