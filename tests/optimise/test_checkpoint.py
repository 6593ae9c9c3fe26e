"""Checkpoints of the training loop: continued, damaged, rotated, short of disk and of memory."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from families import save_random_model

from dftfast.model.policy import Policy
from dftfast.model.weights import load_decoder
from dftfast.optimise import fit as fitting
from dftfast.optimise.checkpoint import KEEP, Checkpoints, read_state
from dftfast.optimise.fit import FitSettings, LoopHooks, fit
from dftfast.optimise.packing import Example
from dftfast.pipeline.run_folder import RunFolder
from dftfast.runtime.errors import Interrupted, TrainingStopped, UserError
from dftfast.runtime.signals import stop_on_signals

SETTINGS = FitSettings(learning_rate=1e-2, epochs=3, batch_tokens=90, micro_tokens=40)

RNG = random.Random(0)
EXAMPLES = [
    Example(
        *(
            [RNG.randrange(3, 259) for _ in range(RNG.randint(least, most))]
            for least, most in ((1, 6), (2, 12))
        )
    )
    for _ in range(20)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_random_model("qwen3", path)
    return path


@pytest.fixture(params=["lora", "full bf16"])
def trainer(request, folder):
    """A function that trains from the start or from the last checkpoint and returns the weights."""

    def train(checkpoints=None, log=lambda record: None, settings=SETTINGS):
        if request.param == "lora":
            policy = Policy(folder, torch.float32)
            decoder, parameters = policy.decoder, policy.begin_phase(4, 8, seed=0)
        else:
            decoder = load_decoder(folder, torch.bfloat16)
            parameters = [p.requires_grad_() for p in decoder.parameters()]
        fit(decoder, parameters, EXAMPLES, settings, 1, log, LoopHooks(checkpoints=checkpoints))
        return [p.detach().clone() for p in parameters]

    return train


lora = pytest.mark.parametrize("trainer", ["lora"], indirect=True)


class Stop(Exception):
    pass


def stop_after(step):
    def log(record):
        if record["step"] == step:
            raise Stop

    return log


def same(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def interrupted(trainer, path, step=8):
    """The checkpoints of a loop that broke off in this step, before its checkpoint."""
    checkpoints = Checkpoints(path, steps=1)
    with pytest.raises(Stop):
        trainer(checkpoints, stop_after(step))
    checkpoints.wait()
    return sorted(entry.name for entry in path.iterdir())


def test_continued_training_gives_the_same_weights_from_fewer_steps(trainer, tmp_path):
    whole = trainer()
    assert interrupted(trainer, tmp_path) == ["step-00000006", "step-00000007"]  # KEEP of them
    steps = []
    assert same(trainer(Checkpoints(tmp_path, steps=1), steps.append), whole)
    assert steps[0]["step"] == 8 and steps[-1]["step"] == steps[-1]["steps"] > 8
    assert len(list(tmp_path.iterdir())) == KEEP


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped bit", "no state", "no checksums", "other checksums", "empty"]
)
@lora
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    trainer, tmp_path, caplog, damage
):
    whole = trainer()
    last = tmp_path / interrupted(trainer, tmp_path)[-1]
    tensors = last / "state.safetensors"
    if damage == "truncated":
        os.truncate(tensors, tensors.stat().st_size - 1)
    elif damage == "flipped bit":
        content = bytearray(tensors.read_bytes())
        content[len(content) // 2] ^= 1
        tensors.write_bytes(content)
    elif damage == "no state":
        (last / "state.json").unlink()
    elif damage == "no checksums":
        (last / "SHA256SUMS").unlink()
    elif damage == "other checksums":
        (last / "SHA256SUMS").write_bytes(b"\xff\x00 nonsense\n")
    else:
        shutil.rmtree(last)
        last.mkdir()
    steps = []
    assert same(trainer(Checkpoints(tmp_path, steps=1), steps.append), whole)
    assert steps[0]["step"] == 7
    assert "step-00000007 is damaged" in caplog.text and "the one before" in caplog.text


@lora
def test_checkpoints_of_other_settings_are_left_out(trainer, tmp_path):
    interrupted(trainer, tmp_path)
    steps = []
    trainer(Checkpoints(tmp_path, steps=1), steps.append, FitSettings(1e-3, 1, 90, 40))
    assert steps[0]["step"] == 1


@lora
def test_a_checkpoint_is_what_sha256sum_checks(trainer, tmp_path):
    last = tmp_path / interrupted(trainer, tmp_path)[-1]
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=last,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves_it(trainer, tmp_path, number):
    whole, handlers = trainer(), signal.getsignal(number)
    seen = []

    def log(record):
        seen.append(record["step"])
        if record["step"] == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted), stop_on_signals():
        trainer(Checkpoints(tmp_path, seconds=1e9), log)
    assert seen[-1] == 5 and [entry.name for entry in tmp_path.iterdir()] == ["step-00000005"]
    assert signal.getsignal(number) is handlers
    steps = []
    assert same(trainer(Checkpoints(tmp_path), steps.append), whole) and steps[0]["step"] == 6


COMMAND = """
import time
from dftfast.runtime.command import run
from dftfast.runtime.signals import held, stop_on_signals

def main(arguments):
    with stop_on_signals(), held() as stop_requested:
        print("ready", flush=True)
        while not (stop_requested() and arguments == ["stops"]):
            time.sleep(0.01)

run(main)
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("behaviour", ["stops", "goes on"])
def test_exit_statuses_of_one_signal_and_of_two(first, behaviour):
    command = [sys.executable, "-c", COMMAND, behaviour]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(first)
        if behaviour == "goes on":
            assert "once more" in process.stderr.readline() + process.stderr.readline()
            process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == (75 if behaviour == "stops" else -signal.SIGTERM)
    assert "Traceback" not in errors


@lora
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(trainer, tmp_path):
    whole, limits = trainer(), resource.getrlimit(resource.RLIMIT_FSIZE)

    def log(record):
        # the fourth checkpoint meets the limit; a file may then hold 1000 bytes
        if record["step"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(TrainingStopped, match=r"could not be written.*step-00000003 is intact"):
            trainer(Checkpoints(tmp_path, steps=1), log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == [
        "step-00000002",
        "step-00000003",
    ]
    assert read_state(tmp_path / "step-00000003")
    assert same(trainer(Checkpoints(tmp_path, steps=1)), whole)


def test_checkpoints_take_a_small_share_of_the_time(tmp_path):
    checkpoints = Checkpoints(tmp_path, seconds=0.0)
    checkpoints.cost = 10.0  # seconds that the last one took: the next is due after 200
    checkpoints.offer(1, dict, {})
    checkpoints.saved_at -= 201
    assert not list(tmp_path.iterdir())
    checkpoints.offer(2, lambda: {"a": torch.ones(2)}, {})
    checkpoints.wait()
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000002"]


def test_a_second_process_is_refused_the_run_folder(tmp_path):
    with RunFolder(tmp_path):
        with pytest.raises(UserError, match="another process"):
            RunFolder(tmp_path)
    with RunFolder(tmp_path):
        pass


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't"),
    ],
)
def test_out_of_memory_repeats_the_step_with_half_the_micro_batch(
    trainer, monkeypatch, error, caplog
):
    whole, losses = [], []
    expected = trainer(log=lambda record: whole.append(record["loss"]))
    original, calls = fitting.backward, []

    def backward(decoder, batch, scale, loss):
        calls.append(len(batch.tokens))
        if len(calls) == 5:
            original(
                decoder, batch, scale, loss
            )  # memory runs out when part of the gradient is there
            raise error
        return original(decoder, batch, scale, loss)

    monkeypatch.setattr(fitting, "backward", backward)
    found = trainer(log=lambda record: losses.append(record["loss"]))
    assert "out of memory" in caplog.text and max(calls[5:]) <= 20 < max(calls[:5])
    assert losses == pytest.approx(whole, rel=1e-3)
    assert all(
        (a - b).norm() <= 0.02 * b.norm() + 1e-3 for a, b in zip(found, expected, strict=True)
    )


@lora
def test_other_errors_are_not_taken_for_out_of_memory(trainer, monkeypatch):
    monkeypatch.setattr(
        fitting, "backward", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug"))
    )
    with pytest.raises(RuntimeError, match="a bug"):
        trainer()
