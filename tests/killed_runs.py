"""Runs that are killed with SIGKILL and started again until they end, beside one that was not.

    python killed_runs.py KILLS SEED FOLDER OPTION...

prints one line of JSON for each kill: where it was, and whether the weights of the run after
another start are those of the undisturbed run. A start is a fork of this process, which has
imported everything and computed nothing.

    torchrun ... killed_runs.py RANK POINT CALL OPTION...

is one run on several processes, of which one kills itself at that call of that point (0: at none).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import dftfast.dft.loop
import dftfast.dft.natural
import dftfast.model.policy
import dftfast.optimise.checkpoint
import dftfast.optimise.fit
import dftfast.pipeline.stages
import dftfast.runtime.files
from dftfast.train import main

for each in ("safetensors.torch", "sklearn.feature_extraction.text"):
    importlib.import_module(each)  # before the forks

MANY = 40  # kills at a random one of that many calls
# what a run is killed in the midst of, beside any moment -> the module and the name called there
POINTS = {
    "write": (dftfast.runtime.files, "_sync"),
    "checkpoint": (dftfast.optimise.checkpoint, "write_state"),
    "checkpoint checksum": (dftfast.optimise.checkpoint, "sha256"),
    "merge": (dftfast.model.policy, "product"),
    "update": (dftfast.optimise.fit, "backward"),
    "gradients": (dftfast.dft.natural, "token_gradients"),
}


def start(options: list[str], point: str | None, call: int) -> int:
    """Fork a run, which kills itself at the `call`-th call of `point`. Returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        run(options, point, call)
    except BaseException:
        import traceback

        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)
    os._exit(0)


def run(options: list[str], point: str | None, call: int) -> None:
    """A run that ends with the last weights, unless it kills itself."""
    dftfast.pipeline.stages.measure = lambda run: None
    dftfast.pipeline.stages.ending = lambda run, sampler: ""  # it shows what the report found
    dftfast.dft.loop._stalled = lambda records: False  # a second phase, on the merged first one
    if point:
        module, name = POINTS[point]
        original, calls = getattr(module, name), 0

        def deadly(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(module, name, deadly)
    main(options)


def wait(pid: int, seconds: float | None) -> int:
    """Kill the process after that time, unless it has ended.

    Returns its exit status, -9 where it was killed.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG if deadline else 0)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = None
        time.sleep(0.002)


def weights(folder: Path) -> dict[str, str]:
    """Checksums of every weight file and of the samples of the result."""
    files = [
        *folder.glob("sft/**/*.safetensors"),
        *folder.glob("dft/**/*.safetensors"),
        *folder.glob("merged/*.safetensors"),
    ]
    files.append(folder / "generations" / "dft.jsonl")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def killed_runs(kills: int, seed: int, work: Path, options: list[str]) -> None:
    rng = random.Random(seed)
    whole = work / "whole"
    began = time.monotonic()
    assert wait(start([*options, f"--run.folder={whole}"], None, 0), None) == 0
    seconds, expected = time.monotonic() - began, weights(whole)
    assert any(name.startswith("merged") for name in expected)
    survived = 0
    while survived < kills:
        folder = work / f"run-{survived}"
        point = rng.choice([None, None, None, *POINTS])
        where = point or f"{(moment := rng.uniform(0.02, 0.98)):.0%} of the run"
        pid = start([*options, f"--run.folder={folder}"], point, rng.randint(1, MANY))
        if wait(pid, None if point else moment * seconds) == 0:  # it was through already
            shutil.rmtree(folder)
            continue
        status = wait(start([*options, f"--run.folder={folder}"], None, 0), None)
        same = status == 0 and weights(folder) == expected
        print(json.dumps({"killed": where, "status": status, "same": same}), flush=True)
        shutil.rmtree(folder)
        survived += 1


if __name__ == "__main__":
    if "RANK" in os.environ:
        mine = os.environ["RANK"] == sys.argv[1]
        run(sys.argv[4:], sys.argv[2] if mine else None, int(sys.argv[3]))
        sys.exit()
    killed_runs(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
