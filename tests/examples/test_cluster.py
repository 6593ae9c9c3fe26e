"""The launch files: a tiny run of two processes by each, the same as by torchrun alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_run import fine_tuned, save_corpus, save_tiny_model, short_options

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def run_options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    corpus = save_corpus(folder / "corpus.jsonl")
    fine_tuned(save_tiny_model(folder / "model", corpus), corpus, folder / "tuned")
    model = next(folder.glob("tuned/sft/*/config.json")).parent  # it ends its texts
    lora = ["--sft.method=lora", "--sft.learning_rates=0.003", "--dft.bake_temperature=0.9"]
    return [*short_options(model, corpus), *lora]


def started(command, **environment):
    command = list(map(str, command))
    done = subprocess.run(
        command, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def by_torchrun(run_options, tmp_path_factory):
    """Merged weights of the run on two processes of one node."""
    out = tmp_path_factory.mktemp("torchrun") / "run"
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 -m dftfast.train".split()
    started([sys.executable, *torchrun, *run_options, f"--run.folder={out}"])
    return load_file(out / "merged" / "model.safetensors")


def same_weights(folder, wanted):
    found = load_file(folder / "merged" / "model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(found[name].equal(wanted[name]) for name in wanted)


def test_the_slurm_file_is_a_sound_script():
    started(["bash", "-n", CLUSTER / "slurm.sh"])
    if shutil.which("shellcheck"):
        started(["shellcheck", CLUSTER / "slurm.sh"])


@pytest.mark.slow
def test_slurm_with_two_nodes(run_options, by_torchrun, tmp_path):
    """`srun` and `scontrol` are shell scripts that do here what SLURM's do on two nodes."""
    programs = {
        "python": f'exec {sys.executable} "$@"',
        "scontrol": '[ "$*" = "show hostnames node[1-2]" ] && printf "127.0.0.1\\nnode2\\n"',
        "srun": '[ "$1" = --kill-on-bad-exit=1 ] && shift\n'
        'SLURM_NODEID=0 "$@" & first=$!\nSLURM_NODEID=1 "$@" & second=$!\n'
        "wait $first && wait $second",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2"}
    slurm |= {"SLURM_JOB_ID": str(os.getpid()), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    started([CLUSTER / "slurm.sh", *run_options, f"--run.folder={tmp_path / 'run'}"], **slurm)
    same_weights(tmp_path / "run", by_torchrun)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="needs ray[train]")
def test_ray_with_two_workers(run_options, by_torchrun, tmp_path):
    command = [sys.executable, CLUSTER / "ray_train.py", 2, *run_options]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "CUDA_VISIBLE_DEVICES": ""}
    started([*command, f"--run.folder={tmp_path / 'run'}"], **quiet)
    same_weights(tmp_path / "run", by_torchrun)
