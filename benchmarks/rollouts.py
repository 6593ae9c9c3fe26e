"""Rollouts of random prompts, the least time that they take, and the GGUF files of a peer.

    python benchmarks/rollouts.py BATCH

prints tokens a second of the prefill and of the decode of the default model, best of three, on the
instruction set that DFTFAST_ISA names.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import time
from pathlib import Path

import torch
from cpu_limits import bandwidth, product_seconds

from dftfast.model.decoder import Decoder
from dftfast.model.pretrained import resolve_model
from dftfast.model.weights import load_decoder
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.rollout.memory import cache_bytes_per_token

PROMPT, NEW = 64, 64


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


def linear_weights(decoder) -> int:
    return sum(
        m.weight.numel()
        for layer in decoder.layers
        for m in (layer.qkv, layer.o, layer.gate_up, layer.down)
    )


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


def without_end_token() -> Decoder:
    """The default model in bfloat16, which answers until it is told to stop."""
    decoder = load_decoder(resolve_model(), torch.bfloat16, "cpu")
    decoder.config = dataclasses.replace(decoder.config, eos_token_ids=())
    return decoder


def speeds(batch: int) -> tuple[float, float]:
    """Tokens a second of prefill and of decode."""
    engine = engine_for(without_end_token(), batch, PROMPT + NEW)
    rollout_seconds(engine, batch, 2)
    prefill, whole = (
        min(rollout_seconds(engine, batch, new) for _ in range(3)) for new in (1, NEW)
    )
    return batch * PROMPT / prefill, batch * (NEW - 1) / (whole - prefill)


if __name__ == "__main__":
    print(*speeds(int(sys.argv[1])))
