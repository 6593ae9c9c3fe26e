"""A training step of SmolLM2-135M in bf16 with LoRA of rank 16 on all linear layers, beside transformers + PEFT.

Real documents of 20 to 250 tokens, every one of their tokens a target: python -m pytest benchmarks/test_training.py,
with DFTFAST_CORPUS=FILE for other documents than docstrings. In extra_info, ``tokens_per_second`` counts real tokens,
not padding; ``peer/ours`` is the peer's time over ours in the same run and ``bar`` what it should be at least.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from paired import compare
from training_steps import Ours, Peft, Products, documents

DOCUMENTS, ROUNDS = 16, 3


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


def peak_bytes(name: str, tokens: int) -> int:
    program = Path(__file__).parent / "training_steps.py"
    done = subprocess.run(
        [sys.executable, program, name, str(tokens)], env=os.environ, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


@pytest.mark.parametrize("name", ["ours", "ours, half recomputed", "ours, all recomputed"])
@pytest.mark.parametrize("tokens", [2048, 8192])
def test_peak_memory_of_a_step(benchmark, tokens, name):
    """The whole step in one forward and backward, each in a process of its own. Bar: 0.4 of the smaller peer."""
    if available_bytes() < 4e6 * tokens:
        pytest.skip(f"transformers + PEFT needs about {4e6 * tokens / 1e9:.0f} GB for {tokens} tokens")
    mine = peak_bytes(name, tokens)
    peers = {peer: peak_bytes(peer, tokens) for peer in ("padded", "flattened")}
    benchmark.extra_info.update(
        {f"{key}_mib": round(value / 2**20) for key, value in {"ours": mine, **peers}.items()},
        ratio=round(mine / min(peers.values()), 3),
        bar=0.4,
    )
    benchmark.pedantic(lambda: None, rounds=1)
