"""The rollout engine beside transformers, llama.cpp and the bare matrix products, in one run.

Setting: SmolLM2-135M in bf16, prompts of 64 random tokens, 64 new tokens, full-vocabulary sampling
at temperature 1, no end token. In extra_info `ratio` is the bar's figure and `bar` what it should
reach; `limit` is the ratio that this machine allows at most: every product at its measured
arithmetic rate or memory bandwidth, whichever takes longer, keys and values read once a step, and
nothing else (cpu_limits.py). The file takes about four minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cpu_limits import bandwidth
from rollouts import (
    NEW,
    PROMPT,
    engine_for,
    linear_weights,
    prompts,
    rollout_limit,
    rollout_seconds,
    step_limit,
    without_end_token,
    write_gguf,
)

from dftfast import _C
from dftfast.kernels import pack_weight, packed_linear
from dftfast.model.pretrained import resolve_model
from dftfast.rollout import Request, Sampler
from dftfast.rollout.memory import cache_bytes_per_token


@pytest.fixture(scope="module")
def folder() -> Path:
    return resolve_model()


@pytest.fixture(scope="module")
def decoder():
    return without_end_token()


def compare(benchmark, ours, peer, bar: float, limit: float | None = None, rounds: int = 2) -> None:
    """Time both in turn; the ratio of the best is peer over ours (above 1: we are faster).

    `limit` is in seconds.
    """
    pairs = [(ours(), peer()) for _ in range(rounds)]
    seconds, peer_seconds = map(min, zip(*pairs))
    benchmark.extra_info.update(
        ours=seconds, peer=peer_seconds, ratio=peer_seconds / seconds, bar=bar
    )
    if limit is not None:
        benchmark.extra_info.update(limit=peer_seconds / limit)
    benchmark.pedantic(ours, rounds=1)


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def transformers_model(folder, request):
    """In our dtype; and in float32, the faster one on a processor without bf16 instructions."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, request.param)).eval()


@pytest.mark.parametrize("batch, bar", [(1, 3), (32, 6), (64, 6)])
def test_against_transformers_generate(benchmark, decoder, transformers_model, batch, bar):
    engine = engine_for(decoder, batch, PROMPT + NEW)

    def peer(new: int = NEW) -> float:
        ids = torch.tensor(prompts(batch))
        started = time.perf_counter()
        with torch.no_grad():
            transformers_model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                min_new_tokens=new,
                max_new_tokens=new,
                pad_token_id=0,
            )
        return time.perf_counter() - started

    rollout_seconds(engine, batch, 2), peer(2)
    rounds = 2 if batch == 1 else 1  # the peer takes minutes
    ours = lambda: rollout_seconds(engine, batch)
    compare(benchmark, ours, peer, bar, rollout_limit(decoder, batch), rounds)


@pytest.fixture(scope="module")
def gguf_files(tmp_path_factory) -> dict[str, Path]:
    """The default model's own GGUF file (4 bits), and its values in bf16, as our weights are."""
    from dftfast.model import pretrained

    folder = tmp_path_factory.mktemp("gguf")
    pretrained._unpack(pretrained._MODEL, folder)
    source = next(folder.glob("*.gguf"))
    return {"q4_1": source, "bf16": write_gguf(source, folder / "bf16.gguf", "bf16")}


@pytest.mark.parametrize("kind", ["bf16", "q4_1"])
@pytest.mark.parametrize("batch, bar", [(1, 1), (32, 4)])
def test_against_llama_cpp(benchmark, decoder, gguf_files, kind, batch, bar):
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf_files[kind])
    params.n_ctx = (PROMPT + NEW + 16) * batch
    params.n_parallel = batch
    params.verbosity = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    engine = engine_for(decoder, batch, PROMPT + NEW)
    rollout_seconds(engine, batch, 2)
    # before there is a server, whose threads spin
    ours = min(rollout_seconds(engine, batch) for _ in range(2))
    server = xllamacpp.Server(params)

    def peer(new: int = NEW) -> float:
        request = {
            "prompt": prompts(batch),
            "max_tokens": new,
            "temperature": 1.0,
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "samplers": ["temperature"],
            "ignore_eos": True,
            "cache_prompt": False,
        }
        started = time.perf_counter()
        answer = server.handle_completions(request)
        seconds = time.perf_counter() - started
        assert len(answer["choices"]) == batch and answer["usage"]["completion_tokens"] == new
        return seconds

    peer(2)
    rounds = 2 if batch == 1 else 1
    compare(benchmark, lambda: ours, peer, bar, rollout_limit(decoder, batch), rounds)


@pytest.mark.skipif(_C.isa() != "amx", reason="the processor has no AMX, or is held to less")
@pytest.mark.parametrize("batch", [1, 8, 32, 64])
def test_tiles_against_avx512(benchmark, batch):
    """Prefill and decode with AMX over the same with AVX-512, in turns, each in its process."""
    script = str(Path(__file__).with_name("rollouts.py"))

    def measured(isa: str) -> list[float]:
        environment = {**os.environ, "DFTFAST_ISA": isa}
        command = [sys.executable, script, str(batch)]
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        return [float(figure) for figure in printed.stdout.split()]

    pairs = [(measured("amx"), measured("avx512")) for _ in range(2)]
    tiles, vectors = ([max(figures) for figures in zip(*runs)] for runs in zip(*pairs))
    for i, (part, bar) in enumerate((("prefill", 3), ("decode", 2.5))):
        benchmark.extra_info.update(
            {
                f"{part}_tokens_per_second": round(tiles[i]),
                f"{part} amx/avx512": round(tiles[i] / vectors[i], 2),
                f"{part} bar": bar,
            }
        )
    benchmark.pedantic(lambda: None, rounds=1)


def test_against_the_bare_matrix_products(benchmark, decoder):
    """Decode at batch 64: the products alone, weights packed, over the whole step. Bar: 0.7."""
    batch, steps = 64, 32
    engine = engine_for(decoder, batch, PROMPT + steps + 1)
    linear = [
        w for layer in decoder.layers for w in (layer.qkv, layer.o, layer.gate_up, layer.down)
    ]
    packed = [
        pack_weight(weight)
        for weight in (*(module.weight for module in linear), decoder.head_weight)
    ]
    inputs = [
        torch.randn(batch, weight.shape[1]).bfloat16()
        for weight in (*(m.weight for m in linear), decoder.embed)
    ]

    def products() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            for x, weight in zip(inputs, packed):
                packed_linear(x, weight, None)
        return time.perf_counter() - started

    def decode() -> float:
        return rollout_seconds(engine, batch, steps + 1) - rollout_seconds(engine, batch, 1)

    decode(), products()
    limit = steps * step_limit(decoder, batch, PROMPT)
    compare(benchmark, decode, products, bar=0.7, limit=limit, rounds=3)


@pytest.mark.parametrize("batch", [1, 16])
def test_cost_per_token_with_length(benchmark, decoder, batch):
    """Seconds a token over 1,024 generated tokens, over the same for 64.

    `ratio` and `limit` are 64's over 1,024's, and the limit is 64's as it was measured with no more
    than the reading of the further keys and values on top.
    """
    engine = engine_for(decoder, batch, PROMPT + 1024)

    def per_token(new: int) -> float:
        return (rollout_seconds(engine, batch, new) - rollout_seconds(engine, batch, 1)) / (new - 1)

    per_token(8)
    short, long = min(per_token(64) for _ in range(3)), per_token(1024)
    further = batch * (1024 - 64) / 2 * cache_bytes_per_token(decoder.config, torch.bfloat16)
    benchmark.extra_info.update(
        short=short,
        long=long,
        ratio=short / long,
        bar=1 / 1.3,
        limit=short / (short + further / bandwidth()),
    )
    benchmark.pedantic(per_token, (64,), rounds=1)


def test_packing_of_the_weights(benchmark, decoder):
    """Seconds to pack all matrices after a weight change, over those of copying them."""
    engine = engine_for(decoder, 1, PROMPT)
    whole = torch.empty(linear_weights(decoder) + decoder.head_weight.numel(), dtype=torch.bfloat16)
    started = time.perf_counter()
    whole.clone()
    copying = time.perf_counter() - started

    def pack() -> None:
        decoder.version += 1
        engine.backend.update()

    benchmark.pedantic(pack, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(
        seconds=benchmark.stats.stats.min, ratio=benchmark.stats.stats.min / copying
    )


def test_cache_of_eight_samples_of_one_prompt(benchmark, decoder):
    """Cache blocks in use after the prompt of 512 tokens, for 8 samples and for one."""
    prompt = prompts(1, 512)[0]

    def used(n: int) -> int:
        engine = engine_for(decoder, 8, 2048)
        stream = engine.stream(Request(0, prompt, Sampler(max_tokens=2), n=n))
        next(stream)
        count = engine.scheduler.pool.size - engine.scheduler.pool.num_free
        stream.close()
        return count

    one, eight = used(1), used(8)
    benchmark.extra_info.update(one=one, eight=eight, ratio=eight / one, bar=1.15)
    benchmark.pedantic(used, (8,), rounds=1)
