"""The rollout engine on a card, on Qwen3-shaped random models.

    python benchmarks/gpu_rollout.py OUT [shape ...]

Writes OUT/gpu_rollout.json with the machine named and prints a line a case: generated tokens a
second at batches of 1, 16, 64 and 256 (prompts of 64 tokens, 128 new ones, full-vocabulary sampling
at temperature 1), the share reached of what the copy bandwidth of the same run allows a decode step
(weights, keys and values read once), and how many times as long transformers' `generate` with a
static cache takes, where it is installed; and, as training has it, eight times as many requests as
seats, of 16 to 128 new tokens each, so that new prompts come while others are being answered. The
shape `tiny` is for a trial on a CPU.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from gpu_training import DEVICE, model_config, seconds

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.rollout.memory import cache_bytes_per_token

PROMPT, NEW, BATCHES = 64, 128, (1, 16, 64, 256)


def bandwidth() -> float:
    source = torch.empty(1 << (30 if DEVICE == "cuda" else 24), dtype=torch.bfloat16, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source))


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    rng = random.Random(count)
    return [[rng.randrange(vocabulary) for _ in range(PROMPT)] for _ in range(count)]


def ours(decoder: Decoder, batch: int, new: list[int]) -> float:
    """Seconds for as many requests as `new` has lengths, `batch` at once."""
    engine = RolloutEngine(
        decoder,
        cache_tokens=batch * (PROMPT + NEW + 16),
        max_sequences=batch,
        max_step_tokens=max(8192, batch),
        agreement_samples=0,
    )
    texts = prompts(len(new), decoder.config.vocab_size)
    asked = [Request(i, text, Sampler(max_tokens=n)) for i, (text, n) in enumerate(zip(texts, new))]

    def call():
        decoder.version += 1  # nothing of the round before is found again
        engine.generate(asked)

    return seconds(call, rounds=3)


def transformers_model(c: ModelConfig):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    names = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
    }
    left_out = ("model_type", "eos_token_ids", "qk_norm", "rope_scaling")
    fields = {
        names.get(name, name): value for name, value in asdict(c).items() if name not in left_out
    }
    with torch.device(DEVICE):
        return Qwen3ForCausalLM(Qwen3Config(**fields, eos_token_id=None)).to(torch.bfloat16).eval()


@torch.no_grad()
def theirs(model, batch: int, new: int) -> float:
    ids = torch.tensor(prompts(batch, model.config.vocab_size), device=DEVICE)
    return seconds(
        lambda: model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            min_new_tokens=new,
            max_new_tokens=new,
            pad_token_id=0,
            cache_implementation="static",
        ),
        rounds=1,
    )


def cases(shape: str, rate: float):
    config = model_config(shape)
    decoder = Decoder(config, torch.bfloat16, DEVICE)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    weights = sum(p.nbytes for p in decoder.parameters()) - (
        0 if config.tie_word_embeddings else decoder.embed.nbytes
    )
    token = cache_bytes_per_token(config, torch.bfloat16)
    for batch in BATCHES:
        whole, first = (ours(decoder, batch, [new] * batch) for new in (NEW, 1))
        read = sum(weights + batch * (PROMPT + i) * token for i in range(1, NEW))
        yield {
            "case": "ours",
            "batch": batch,
            "seconds": whole,
            "tokens_per_second": batch * NEW / whole,
            "decode_share_of_bandwidth": read / rate / (whole - first),
        }
    new = [random.Random(i).randint(16, NEW) for i in range(8 * BATCHES[-1])]
    taken = ours(decoder, BATCHES[-1], new)
    yield {
        "case": f"ours, {len(new)} requests through {BATCHES[-1]} seats",
        "batch": BATCHES[-1],
        "seconds": taken,
        "tokens_per_second": sum(new) / taken,
    }
    del decoder
    model = transformers_model(config)
    for batch in BATCHES:
        taken = theirs(model, batch, NEW)
        yield {
            "case": "transformers, static cache",
            "batch": batch,
            "seconds": taken,
            "tokens_per_second": batch * NEW / taken,
        }


def main() -> None:
    folder, shapes = Path(sys.argv[1]), sys.argv[2:] or ["Qwen3-0.6B", "Qwen3-1.7B"]
    folder.mkdir(parents=True, exist_ok=True)
    rate = bandwidth()
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    results = {
        "machine": {"device": device, "torch": torch.__version__, "copy_gb_s": rate / 1e9},
        "results": [],
    }
    for shape in shapes:
        rows = cases(shape, rate)
        while True:
            try:
                row = {"shape": shape, **next(rows)}
            except StopIteration:
                break
            except Exception as error:  # unattended: the other shapes still run
                row = {"shape": shape, "error": f"{type(error).__name__}: {str(error)[:200]}"}
            results["results"].append(row)
            print(
                "  ".join(
                    f"{k} {v:.3g}" if isinstance(v, float) else f"{v}" for k, v in row.items()
                ),
                flush=True,
            )
            (folder / "gpu_rollout.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
