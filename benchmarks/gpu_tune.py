"""Times blocks and warps on the card: python benchmarks/gpu_tune.py OUT

The quickest of each op and class of shapes goes into kernels/triton/tiles.json, under the card's
compute capability and with the card named; OUT/tiles.json is a copy, OUT/gpu_tune.json has every
time. Launchers read the file when they are next imported (kernels/triton/chip.py).
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import torch
import triton
from gpu_inputs import VOCABULARY, randn
from triton.testing import do_bench

from dftfast.kernels.triton import chip, linear_logprob, sample_tokens

DEVICE = torch.device("cuda")
CLASSES = {"16 bits": torch.bfloat16, "32 bits": torch.float32}
ROWS = [
    dict(BLOCK=block, num_warps=warps)
    for block, warps in itertools.product((2048, 4096, 8192, 16384), (4, 8, 16, 32))
    if 4 <= block // (32 * warps) <= 64  # logits a thread
]


def head_calls(dtype):
    """The pass over the logits; the products beside it are thin."""
    h, weight = randn(1024, 64, dtype=dtype), randn(VOCABULARY, 64, dtype=dtype)
    target = torch.randint(0, VOCABULARY, (1024,), device=DEVICE)
    one = torch.full((1024,), 1 / 1024, device=DEVICE)
    return {
        "log-probabilities": lambda: linear_logprob.linear_logprob_forward(h, weight, target, 1.0),
        "loss": lambda: linear_logprob.linear_cross_entropy_forward(
            h, weight, target, one, 1.0, False
        ),
    }


def sampler_calls(dtype):
    calls = {}
    for rows, top_p, min_p in ((8, 1.0, 0.0), (64, 1.0, 1e-5), (512, 1.0, 0.0), (64, 0.95, 0.0)):
        logits, seeds = 3 * randn(rows, VOCABULARY, dtype=dtype), torch.arange(rows, device=DEVICE)
        t, p, m = (torch.full((rows,), v, device=DEVICE) for v in (0.9, top_p, min_p))
        k = torch.zeros(rows, device=DEVICE, dtype=torch.int32)
        arguments = (logits, t, k, p, m, seeds, seeds, seeds)
        calls[f"{rows} rows, top-p {top_p}, min-p {min_p}"] = lambda arguments=arguments: (
            sample_tokens.sample_tokens_forward(*arguments)
        )
    return calls


OPS = {"linear_logprob": (head_calls, ROWS), "sample_tokens": (sampler_calls, ROWS)}


def times(calls: dict) -> dict[str, float]:
    return {
        name: do_bench(call, warmup=10, rep=40, return_mode="median")
        for name, call in calls.items()
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    machine = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
    }
    found = chip.timed_tiles()  # the launchers read the same object, so a trial is an entry
    tiles: dict = {}
    found[str(chip.capability(DEVICE))] = {"machine": machine, "tiles": tiles}
    rows = []
    for (op, (calls_of, candidates)), (shapes, dtype) in itertools.product(
        OPS.items(), CLASSES.items()
    ):
        calls, measured = calls_of(dtype), []
        for candidate in candidates:
            tiles.setdefault(op, {})[shapes] = candidate
            try:
                ms = times(calls)
            except Exception as error:  # too many registers or too much shared memory for the card
                ms = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
            else:
                measured.append((sum(ms.values()), candidate))
            rows.append({"op": op, "shapes": shapes, **candidate, "ms": ms})
            print(rows[-1], flush=True)
        if not measured:
            raise RuntimeError(f"{op}, {shapes}: no candidate runs on this card")
        tiles[op][shapes] = min(measured, key=lambda pair: pair[0])[1]
        print("quickest:", op, shapes, tiles[op][shapes], flush=True)
    (folder / "gpu_tune.json").write_text(
        json.dumps({"machine": machine, "results": rows}, indent=1)
    )
    for path in (folder / "tiles.json", chip.TILES):
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
