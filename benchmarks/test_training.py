"""A training step of SmolLM2-135M with LoRA of rank 16 on all linear layers.

Beside transformers + PEFT, on real documents of 20 to 250 tokens, every one of their tokens a
target: `python -m pytest benchmarks/test_training.py`, with DFTFAST_CORPUS=FILE for other documents
than docstrings and DFTFAST_DTYPE=float32 or bfloat16 for another type than the trainer would choose
here; all have the same. In extra_info, `tokens_per_second` counts real tokens, not padding;
`peer/ours` is the peer's time over ours in the same run and `bar` what it should be at least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paired import compare
from training_steps import DTYPE, MAKERS, Ours, Peft, Products, briefed, documents

from dftfast.optimise.packing import Example, pack

DOCUMENTS, ROUNDS = 16, 3
STEPS = str(Path(__file__).parent / "training_steps.py")


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    return documents(count=DOCUMENTS)


@pytest.fixture(scope="module")
def ours() -> Ours:
    return Ours()


def test_both_compute_the_same_loss(texts, ours):
    for peer in (Peft(flatten=False), Peft(flatten=True)):
        with torch.no_grad():
            expected = float(peer.model(**peer.inputs(texts)).loss)
        assert abs(Ours().step(texts) - expected) < 0.03  # adapters start as zero; bf16 rounding


@pytest.mark.parametrize("peer, bar", [("padded", 2.5), ("flattened", 1.5), ("products", None)])
def test_tokens_per_second(benchmark, texts, ours, peer, bar):
    other = Products() if peer == "products" else Peft(flatten=peer == "flattened")
    seconds = compare({"ours": lambda: ours.step(texts), peer: lambda: other.step(texts)}, ROUNDS)
    tokens = sum(map(len, texts))
    benchmark.extra_info.update(
        {f"{name}_tokens_per_second": round(tokens / value) for name, value in seconds.items()},
        tokens=tokens,
        padding=round(DOCUMENTS * max(map(len, texts)) / tokens, 3),
        **{f"{peer}/ours": round(seconds[peer] / seconds["ours"], 3)},
    )
    if bar:
        benchmark.extra_info["bar"] = bar
    benchmark.pedantic(ours.step, (texts,), rounds=1)


@pytest.mark.parametrize("texts_a_brief", [1, 2])
def test_shared_beginnings(benchmark, ours, texts_a_brief):
    """Documents after their briefs, as fine-tuning learns them, and two to each, as DFT does.

    What they begin with alike is computed once, beside every token for itself and the flattened
    peer.
    `tokens/distinct` is what the sharing saves at most.
    """
    examples = briefed(DOCUMENTS)
    if texts_a_brief == 2:
        pairs = zip(examples[::2], examples[1::2])
        examples = [
            Example(one.prompt, each.completion) for one, other in pairs for each in (one, other)
        ]
    batch, every = pack(examples), torch.arange(sum(map(len, examples)) - len(examples))
    apart, peer = replace(batch, distinct=every, place=every), Peft(flatten=True)
    rows = [example.prompt + example.completion for example in examples]
    steps = {
        "ours": lambda: ours.update(batch),
        "apart": lambda: ours.update(apart),
        "flattened": lambda: peer.step(rows),
    }
    seconds = compare(steps, ROUNDS)
    benchmark.extra_info.update(
        {
            f"{name}/ours": round(seconds[name] / seconds["ours"], 3)
            for name in ("apart", "flattened")
        },
        **{"tokens/distinct": round(len(batch.tokens) / len(batch.distinct), 3)},
    )
    benchmark.pedantic(ours.update, (batch,), rounds=1)


def run(*command: str, **environment: str) -> float:
    """What a program prints last."""
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


@pytest.mark.parametrize("tokens", [2048, 8192])
def test_peak_memory_of_a_step(benchmark, tokens):
    """The step in one forward and backward, each in its process. Bar: 0.4 of the smaller peer."""
    need = tokens * (6e6 if DTYPE == torch.float32 else 4e6)
    if available_bytes() < need:
        pytest.skip(f"transformers + PEFT needs about {need / 1e9:.0f} GB for {tokens} tokens")
    found = {name: run(STEPS, "memory", name, str(tokens)) for name in MAKERS}
    smaller = min(found["padded"], found["flattened"])
    benchmark.extra_info.update(
        {f"{name}_mib": round(value / 2**20) for name, value in found.items()},
        **{
            f"{name}/peer": round(value / smaller, 3)
            for name, value in found.items()
            if name.startswith("ours")
        },
        bar=0.4,
    )
    benchmark.pedantic(lambda: None, rounds=1)


def test_two_processes(benchmark):
    """Two processes of one thread beside one, in turns, 2,048 tokens an update."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    rates = [
        [run(*how, STEPS, "speed", "2048", OMP_NUM_THREADS="1") for how in ((), torchrun)]
        for _ in range(2)
    ]
    one, two = map(statistics.mean, zip(*rates))
    benchmark.extra_info.update(
        one=round(one), two=round(two), **{"two/one": round(two / one, 3)}, bar=1.85
    )
    benchmark.pedantic(lambda: None, rounds=1)
