"""A LoRA training step of Qwen3-shaped random models on a card.

    python benchmarks/gpu_training.py OUT [shape ...]

Writes OUT/gpu_training.json with the machine named and prints a line a case: real tokens a second,
model-FLOP utilisation (of the bf16 rate that a product of 8192³ reached in the same run) and peak
memory, ours beside transformers + PEFT (padded batches of 16; all documents flattened into one row;
that under torch.compile) where they are installed. A peer that fails, for want of memory or
otherwise, leaves its error. The shape `tiny` is for a trial on a CPU.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.lora import add_adapter
from dftfast.optimise.fit import backward
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.optimiser import Optimiser
from dftfast.optimise.packing import Example, pack

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RANK, ROUNDS = 16, 5
# hidden, intermediate size, layers, query heads, key heads, head size, vocabulary, tokens a step
SHAPES = {
    "Qwen3-0.6B": (1024, 3072, 28, 16, 8, 128, 151936, 16384),
    "Qwen3-1.7B": (2048, 6144, 28, 16, 8, 128, 151936, 16384),
    "tiny": (64, 128, 2, 4, 2, 16, 512, 512),
}


def model_config(shape: str) -> ModelConfig:
    hidden, intermediate, layers, heads, kv_heads, head_dim, vocabulary, _ = SHAPES[shape]
    return ModelConfig(
        model_type="qwen3",
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        rope_scaling=None,
        tie_word_embeddings=True,
        qk_norm=True,
        attention_bias=False,
        max_position_embeddings=40960,
        eos_token_ids=(),
    )


def documents(tokens: int, vocabulary: int) -> list[list[int]]:
    """Random documents of 20 to 500 tokens."""
    rng, found = random.Random(0), []
    while tokens >= 20:
        length = min(rng.randint(20, 500), tokens)
        found.append([rng.randrange(vocabulary) for _ in range(length)])
        tokens -= length
    return found


def step_flops(c: ModelConfig, texts: list[list[int]]) -> float:
    """Forward and gradients of inputs and adapters; attention over n tokens counts n²/2 pairs."""
    width, tokens = c.num_heads * c.head_dim, sum(map(len, texts))
    shapes = [
        (c.hidden_size, width),
        (c.hidden_size, c.num_kv_heads * c.head_dim),
        (c.hidden_size, c.num_kv_heads * c.head_dim),
        (width, c.hidden_size),
        *3 * [(c.hidden_size, c.intermediate_size)],
    ]
    linear = c.num_layers * sum(a * b for a, b in shapes) + c.vocab_size * c.hidden_size
    adapters = c.num_layers * RANK * sum(a + b for a, b in shapes)
    attention = 6 * c.num_layers * width * sum(len(ids) ** 2 for ids in texts)
    return (4 * linear + 6 * adapters) * tokens + attention


def ours(c: ModelConfig, texts: list[list[int]]):
    decoder = Decoder(c, torch.bfloat16, DEVICE)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    optimiser = Optimiser(add_adapter(decoder, RANK, RANK, seed=0), 1e-4, total_steps=1000)

    def step() -> None:
        batch = pack([Example(ids[:1], ids[1:]) for ids in texts]).to(DEVICE)
        backward(decoder, batch, 1 / len(batch.targets), likelihood)
        optimiser.step()

    return step


def peft(c: ModelConfig, texts: list[list[int]], flatten: bool, compiled: bool = False):
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    names = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
    }
    fields = {
        names.get(name, name): value
        for name, value in asdict(c).items()
        if name not in ("model_type", "eos_token_ids")
    }
    config = Qwen3Config(
        **{name: value for name, value in fields.items() if name not in ("qk_norm", "rope_scaling")}
    )
    with torch.device(DEVICE):
        model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model = get_peft_model(
        model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear")
    ).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    run = torch.compile(model) if compiled else model

    def batch(part: list[list[int]]) -> dict[str, torch.Tensor]:
        if flatten:
            rows = {
                "input_ids": [i for ids in part for i in ids],
                "labels": [i for ids in part for i in [-100, *ids[1:]]],
                "position_ids": [i for ids in part for i in range(len(ids))],
            }
            return {name: torch.tensor([row], device=DEVICE) for name, row in rows.items()}
        longest = max(map(len, part))
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids in part], device=DEVICE)
        real = torch.tensor(
            [[1] * len(ids) + [0] * (longest - len(ids)) for ids in part], device=DEVICE
        )
        return {
            "input_ids": ids,
            "attention_mask": real,
            "labels": ids.masked_fill(real == 0, -100),
        }

    def step() -> None:
        parts = [texts] if flatten else [texts[i : i + 16] for i in range(0, len(texts), 16)]
        for part in parts:
            run(**batch(part), use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


CASES = {
    "ours": ours,
    "padded": lambda c, texts: peft(c, texts, flatten=False),
    "flattened": lambda c, texts: peft(c, texts, flatten=True),
    "flattened, torch.compile": lambda c, texts: peft(c, texts, flatten=True, compiled=True),
}


def seconds(call, rounds: int = ROUNDS) -> float:
    """Median of `rounds` calls after two that warm up."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[rounds // 2]


def measure(case: str, config: ModelConfig, texts: list[list[int]], rate: float) -> dict:
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(CASES[case](config, texts))
    row = {
        "tokens_per_second": sum(map(len, texts)) / taken,
        "utilisation": step_flops(config, texts) / taken / rate,
    }
    return row | (
        {"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if DEVICE == "cuda" else {}
    )


def main() -> None:
    folder, shapes = Path(sys.argv[1]), sys.argv[2:] or ["Qwen3-0.6B", "Qwen3-1.7B"]
    folder.mkdir(parents=True, exist_ok=True)
    side = 8192 if DEVICE == "cuda" else 512
    a, b = (torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * side**3 / seconds(lambda: a @ b)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    results = {
        "machine": {"device": device, "torch": torch.__version__, "bf16_tflop_s": rate / 1e12},
        "results": [],
    }
    for shape in shapes:
        config = model_config(shape)
        texts = documents(SHAPES[shape][-1], config.vocab_size)
        for case in CASES:
            row = {"shape": shape, "case": case, "tokens": sum(map(len, texts))}
            try:
                row |= measure(case, config, texts, rate)
            except Exception as error:  # unattended: the other cases still run
                row["error"] = f"{type(error).__name__}: {str(error)[:200]}"
            results["results"].append(row)
            print(
                "  ".join(
                    f"{k} {v:.3g}" if isinstance(v, float) else f"{v}" for k, v in row.items()
                ),
                flush=True,
            )
            (folder / "gpu_training.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
