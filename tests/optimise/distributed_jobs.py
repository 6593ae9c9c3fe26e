"""What the processes of test_distributed do.

torchrun starts them with the name of a function below and its arguments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from dftfast.dft.stored_rollouts import own_share, sample
from dftfast.model.lora import lora_layers
from dftfast.model.policy import Policy
from dftfast.model.weights import load_decoder
from dftfast.optimise import distributed
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.fit import FitSettings, LoopHooks, fit
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import TrainingStopped

SETTINGS = FitSettings(
    learning_rate=1e-2, epochs=2, batch_tokens=90, micro_tokens=40, grad_clip=0.5
)


def examples(count: int = 20) -> list[Example]:
    rng = random.Random(0)

    def tokens(least: int, most: int) -> list[int]:
        return [rng.randrange(3, 259) for _ in range(rng.randint(least, most))]

    return [Example(tokens(1, 6), tokens(2, 12), rng.choice([0.5, 1.0])) for _ in range(count)]


def train(folder: str, out: str, method: str, dies_after: str = "0", rests: str = "0") -> None:
    """Train, from the last checkpoint.

    Every rank saves its parameters after each step, and what it was told. The last one kills itself
    after a step, or rests some seconds after each.
    """
    records, history = [], []
    if method == "lora":
        decoder = (policy := Policy(folder, torch.float32)).decoder
        parameters = policy.begin_phase(4, 8, seed=0)
    else:
        decoder = load_decoder(folder, torch.float32)
        parameters = [p.requires_grad_() for p in decoder.parameters()]

    def log(record: dict) -> None:
        records.append(record)
        history.append([p.detach().clone() for p in parameters])
        if distributed.rank() == distributed.world_size() - 1:
            time.sleep(float(rests))
            if record["step"] == int(dies_after):
                os.kill(os.getpid(), signal.SIGKILL)

    fit(
        decoder,
        parameters,
        examples(),
        SETTINGS,
        1,
        log,
        LoopHooks(checkpoints=Checkpoints(Path(out) / "checkpoints", steps=1)),
    )
    found = {
        "records": records,
        "history": history,
        "logprobs": token_logprobs(decoder, examples(), 40),
    }
    torch.save(found, Path(out) / f"rank-{distributed.rank()}.pt")


def shard(folder: str, out: str, sharded: str) -> None:
    """Two phases, with and without the layers sharded: all that comes of it, and the bytes held."""
    policy = Policy(folder, torch.float32, sharded=sharded == "True")
    policy.temperature = 0.9
    engine = RolloutEngine(policy.decoder, max_sequences=4)
    requests = [
        Request(i, e.prompt, Sampler(max_tokens=3 + 4 * i), seed=3)
        for i, e in enumerate(examples(5))
    ]
    found = {"records": [], "history": [], "samples": [], "logprobs": []}
    for phase in range(2):
        policy.merge_weights()
        parameters = policy.begin_phase(4, 8, seed=phase)
        policy.decoder.set_activation_checkpointing(0.5 * phase)

        def log(record: dict, parameters=parameters) -> None:
            found["records"].append({name: record[name] for name in ("loss", "grad_norm")})
            found["history"].append([p.detach().clone() for p in parameters])

        fit(policy.decoder, parameters, examples(), SETTINGS, 1, log)
        found["logprobs"].append(token_logprobs(policy.decoder, examples(7), 40))
        found["samples"].append(sample(engine, requests, "some"))
        engine.release()
        policy.end_phase()
    weights = [module.weight for module in lora_layers(policy.decoder).values()]
    found["held"] = sum(getattr(weight, "_local_tensor", weight).nbytes for weight in weights)
    found["all"] = sum(weight.nbytes for weight in weights)
    if distributed.rank() == 0:
        policy.save(Path(out) / f"merged-{sharded}")
    torch.save(found, Path(out) / f"{sharded}-{distributed.rank()}.pt")


def lose(victim: str, how: str, folder: str) -> None:
    """The victim dies or hangs, before a meeting or within a pass.

    The others tell when and how they stopped.
    """

    def be_lost(*_) -> None:
        if distributed.rank() == int(victim):
            if how.startswith("dies"):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(120)

    if in_a_pass := how.endswith("in a pass"):
        decoder = Policy(folder, torch.float32, sharded=True).decoder
        decoder.layers[1].register_forward_pre_hook(be_lost)
    distributed.all_gather(None)
    start = time.monotonic()
    try:
        if in_a_pass:
            token_logprobs(decoder, examples(6), 40)
        else:
            be_lost()
            distributed.all_gather(None)
    except TrainingStopped as wrong:
        line = json.dumps({"seconds": time.monotonic() - start, "message": str(wrong)}) + "\n"
        # in one piece: torchrun's Python writes unbuffered, a print's newline by itself
        os.write(1, line.encode())
        raise SystemExit(3) from wrong


def fail(out: str) -> None:
    """Work on rank 0 fails: its error is raised there, the others end."""
    try:
        distributed.on_rank0(lambda: 1 / 0)
    except BaseException as wrong:
        (Path(out) / f"rank-{distributed.rank()}").write_text(type(wrong).__name__)


def meet(out: str) -> None:
    """Results of the meetings, from every rank."""
    me = distributed.rank()
    words = ["a", "bb", "", "dddd", "e"]
    # two samples of each prompt, those of one much longer than the others
    requests = [Request(2 * p + k, [9, p]) for p in range(5) for k in range(2)]
    lengths = [{4: 30, 5: 30}.get(i, 10) for i in range(10)]
    found = {
        "gather": distributed.all_gather(me),
        "spread": distributed.map_over_ranks(
            lambda part: [word + "!" for word in part], words, [len(w) for w in words]
        ),
        "first": distributed.on_rank0(lambda: me),
        "requests": [request.id for request in own_share(requests, lengths)],
        "any": [distributed.any_rank(me == 1), distributed.any_rank(False)],
    }
    (Path(out) / f"rank-{me}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, seconds, *arguments = sys.argv[1:]
    with distributed.process_group(float(seconds)):
        {"train": train, "shard": shard, "lose": lose, "fail": fail, "meet": meet}[name](*arguments)
