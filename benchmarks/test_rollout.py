"""The rollout engine beside transformers, llama.cpp and the bare matrix products, each in the same run.

Setting: SmolLM2-135M in bf16, prompts of 64 random tokens, 64 new tokens, full-vocabulary sampling at
temperature 1, no end token. In extra_info `ratio` is the bar's figure and `bar` what it should reach; `limit` is the ratio
that this machine allows at most: every product at its measured arithmetic rate or memory bandwidth, whichever takes longer,
keys and values read once a step, and nothing else (cpu_limits.py). The file takes about four minutes on two cores.
"""

from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path

import pytest
import torch
from cpu_limits import bandwidth, product_seconds

from dftfast.kernels import pack_weight, packed_linear
from dftfast.model.pretrained import resolve_model
from dftfast.model.weights import load_decoder
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.rollout.memory import cache_bytes_per_token

PROMPT, NEW = 64, 64


@pytest.fixture(scope="module")
def folder() -> Path:
    return resolve_model()


@pytest.fixture(scope="module")
def decoder(folder):
    decoder = load_decoder(folder, torch.bfloat16, "cpu")
    decoder.config = dataclasses.replace(decoder.config, eos_token_ids=())
    return decoder


def prompts(count: int, length: int = PROMPT) -> list[list[int]]:
    rng = random.Random(count)
    return [[rng.randrange(100, 40_000) for _ in range(length)] for _ in range(count)]


def engine_for(decoder, batch: int, length: int) -> RolloutEngine:
    return RolloutEngine(
        decoder, cache_tokens=batch * length, max_sequences=batch, agreement_samples=0
    )


def rollout_seconds(engine: RolloutEngine, batch: int, new: int = NEW) -> float:
    engine.release()  # no prefix of an earlier round
    requests = [
        Request(i, prompt, Sampler(max_tokens=new)) for i, prompt in enumerate(prompts(batch))
    ]
    started = time.perf_counter()
    engine.generate(requests)
    return time.perf_counter() - started


def step_limit(decoder, batch: int, context: int) -> float:
    """Seconds that one decode step takes at least."""
    cached = batch * context * cache_bytes_per_token(decoder.config, torch.bfloat16)
    return (
        product_seconds(batch, linear_weights(decoder) + decoder.embed.numel())
        + cached / bandwidth()
    )


def rollout_limit(decoder, batch: int) -> float:
    prefill = product_seconds(batch * PROMPT, linear_weights(decoder))
    return prefill + sum(step_limit(decoder, batch, PROMPT + i) for i in range(NEW))


def linear_weights(decoder) -> int:
    return sum(
        m.weight.numel()
        for layer in decoder.layers
        for m in (layer.qkv, layer.o, layer.gate_up, layer.down)
    )


def compare(benchmark, ours, peer, bar: float, limit: float | None = None, rounds: int = 2) -> None:
    """Time both in turn; the ratio of the best is peer over ours (above 1: we are faster). limit: seconds."""
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
    """In our dtype; and in float32, which is the faster one where the processor has no bf16 instructions."""
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
    compare(
        benchmark,
        lambda: rollout_seconds(engine, batch),
        peer,
        bar,
        rollout_limit(decoder, batch),
        rounds,
    )


def write_gguf(source: Path, target: Path, kind: str) -> Path:
    """The GGUF file's own metadata, its matrices in another type."""
    import gguf

    quantization = gguf.GGMLQuantizationType[kind.upper()]
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in (
            "general.architecture",
            "general.file_type",
        ):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype("float32")
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(
                tensor.name, gguf.quantize(values, quantization), raw_dtype=quantization
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="module")
def gguf_files(tmp_path_factory) -> dict[str, Path]:
    """The default model's own GGUF file (4 bits), and its values written in bf16, as our weights are held."""
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
    ours = min(
        rollout_seconds(engine, batch) for _ in range(2)
    )  # before there is a server, whose threads spin
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
    compare(
        benchmark,
        lambda: ours,
        peer,
        bar,
        rollout_limit(decoder, batch),
        rounds=2 if batch == 1 else 1,
    )


def test_against_the_bare_matrix_products(benchmark, decoder):
    """Decode at batch 64: the step's products alone (the same packed weights) over the whole step. Bar: 0.7."""
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
    compare(
        benchmark,
        decode,
        products,
        bar=0.7,
        limit=steps * step_limit(decoder, batch, PROMPT),
        rounds=3,
    )


@pytest.mark.parametrize("batch", [1, 16])
def test_cost_per_token_with_length(benchmark, decoder, batch):
    """Seconds a token over 1,024 generated tokens, over the same for 64. `ratio` and `limit` are 64's over 1,024's, and
    the limit is 64's as it was measured with no more than the reading of the further keys and values on top."""
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
    """Seconds to pack all matrices after a weight change, over those of copying them as they are."""
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
