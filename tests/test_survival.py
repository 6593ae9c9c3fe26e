"""Runs that are killed, stopped, refused or short of disk and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_pipeline import corpus, model, options  # noqa: F401

SHORT = {
    "sft.epochs": 2, "sft.max_texts": 60, "sweep.temperatures": "1.0", "sweep.prompts": 20, "evaluation.prompts": 20,
    "evaluation.rounds": 20, "dft.phases": 2, "dft.prompts": 24, "dft.candidates": 2, "dft.epochs": 2, "dft.tuning_prompts": 8,
    "run.tensorboard": False, "data.limit": 250, "run.checkpoint_steps": 1, "dft.batch_tokens": 256, "sft.batch_tokens": 512, "dft.learning_rate": 0.002,
}  # fmt: skip


def short_options(model, corpus):  # noqa: F811
    return [*options(model, corpus, "unused"), *(f"--{key}={value}" for key, value in SHORT.items())]


def kill(count, model, corpus, work):  # noqa: F811
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, script, str(count), "0", work, *short_options(model, corpus)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count and all(run["same"] for run in found), found
    return {run["killed"] for run in found}


def test_killed_runs_end_in_the_same_weights(model, corpus, tmp_path):  # noqa: F811
    kill(3, model, corpus, tmp_path)


@pytest.mark.slow
def test_thirty_kills_at_random_instants(model, corpus, tmp_path):  # noqa: F811
    places = kill(30, model, corpus, tmp_path)
    assert {"write", "checkpoint", "checkpoint checksum", "merge"} <= places
