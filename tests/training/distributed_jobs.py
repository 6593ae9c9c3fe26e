"""What the processes of test_distributed do: torchrun starts them with the name of a function below and its arguments."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from dftfast.errors import TrainingStopped
from dftfast.model.policy import Policy
from dftfast.model.weights import load_decoder
from dftfast.training import distributed
from dftfast.training.fit import FitSettings, fit, token_logprobs
from dftfast.training.packing import Example

SETTINGS = FitSettings(learning_rate=1e-2, epochs=2, batch_tokens=90, micro_tokens=40, grad_clip=0.5)


def examples(count: int = 20) -> list[Example]:
    rng = random.Random(0)

    def tokens(least: int, most: int) -> list[int]:
        return [rng.randrange(3, 259) for _ in range(rng.randint(least, most))]

    return [Example(tokens(1, 6), tokens(2, 12), rng.choice([0.5, 1.0])) for _ in range(count)]


def train(folder: str, out: str, method: str) -> None:
    """Train; every rank saves its parameters after each step, and what it was told."""
    records, course = [], []
    if method == "lora":
        decoder = (policy := Policy(folder, torch.float32)).decoder
        parameters = policy.begin_phase(4, 8, seed=0)
    else:
        decoder = load_decoder(folder, torch.float32)
        parameters = [p.requires_grad_() for p in decoder.parameters()]

    def log(record: dict) -> None:
        records.append(record)
        course.append([p.detach().clone() for p in parameters])

    fit(decoder, parameters, examples(), SETTINGS, 1, log)
    found = {"records": records, "course": course, "logprobs": token_logprobs(decoder, examples(), 40)}
    torch.save(found, Path(out) / f"rank-{distributed.rank()}.pt")


def lose(victim: str, how: str) -> None:
    """The victim dies or hangs; the others tell when and how they stopped."""
    distributed.gather(None)
    start = time.monotonic()
    if distributed.rank() == int(victim):
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(120)
    try:
        distributed.gather(None)
    except TrainingStopped as wrong:
        print(json.dumps({"seconds": time.monotonic() - start, "message": str(wrong)}), flush=True)
        raise SystemExit(3)


def fail(out: str) -> None:
    """Work on rank 0 fails: its error is raised there, the others end."""
    try:
        distributed.on_first(lambda: 1 / 0)
    except BaseException as wrong:
        (Path(out) / f"rank-{distributed.rank()}").write_text(type(wrong).__name__)


def meet(out: str) -> None:
    """Results of the meetings, from every rank."""
    me = distributed.rank()
    words = ["a", "bb", "", "dddd", "e"]
    found = {
        "gather": distributed.gather(me),
        "spread": distributed.spread(lambda part: [word + "!" for word in part], words, [len(w) for w in words]),
        "first": distributed.on_first(lambda: me),
        "any": [distributed.any_of(me == 1), distributed.any_of(False)],
    }
    (Path(out) / f"rank-{me}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, seconds, *arguments = sys.argv[1:]
    with distributed.processes(float(seconds)):
        {"train": train, "lose": lose, "fail": fail, "meet": meet}[name](*arguments)
