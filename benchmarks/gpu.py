"""Triton kernels on a card, each beside a peer and a limit: python benchmarks/gpu.py OUT [op ...]

Writes OUT/gpu.json with the machine named, and prints a line a case: median milliseconds, how many
times as long each peer takes (above 1: ours is faster), and the share reached of the copy bandwidth
or of the bf16 matrix rate that the same run measured. Inputs are drawn at random; sizes are layers
of Qwen3-0.6B, 4B and 14B. Needs torch and triton only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gpu_layer_cases as layer
import gpu_text_cases as text
import torch
import triton
from gpu_inputs import BF16, randn
from triton.testing import do_bench

OPS = {
    "rms_norm": layer.rms_norm_cases,
    "swiglu": layer.swiglu_cases,
    "qk_norm_rope": layer.qk_norm_rope_cases,
    "lora_linear": layer.lora_linear_cases,
    "linear_logprob": text.linear_logprob_cases,
    "rbf_witness": text.rbf_witness_cases,
    "ngram": text.ngram_cases,
    "paged_attention": layer.paged_attention_cases,
    "sample_tokens": text.sample_tokens_cases,
}


def ceilings() -> dict[str, float]:
    source, target = torch.empty(2, 1 << 30, dtype=BF16, device="cuda")
    copy = do_bench(lambda: target.copy_(source), return_mode="median")
    a, b = randn(8192, 8192), randn(8192, 8192)
    product = do_bench(lambda: a @ b, return_mode="median")
    return {
        "copy_gb_s": 2 * source.nbytes / copy / 1e6,
        "bf16_tflop_s": 2 * 8192**3 / product / 1e9,
    }


def measure(name: str, ours, peers: dict, moved: int, flops: int, limits: dict[str, float]) -> dict:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ours()
    row = {"case": name, "extra_mib": (torch.cuda.max_memory_allocated() - before) / 2**20}
    row["ms"] = do_bench(ours, warmup=10, rep=60, return_mode="median")
    for peer, call in peers.items():
        row[f"{peer} / ours"] = do_bench(call, warmup=10, rep=60, return_mode="median") / row["ms"]
    row["share_of_copy_bandwidth"] = moved / row["ms"] / 1e6 / limits["copy_gb_s"]
    row["share_of_matrix_rate"] = flops / row["ms"] / 1e9 / limits["bf16_tflop_s"]
    return row


def line_of(row: dict) -> str:
    return "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else v for k, v in row.items())


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or list(OPS)
    torch.manual_seed(0)
    limits = ceilings()
    machine = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        **limits,
    }
    print(machine, flush=True)
    rows = []
    for op in wanted:
        try:
            for case in OPS[op]():
                rows.append(measure(*case, limits))
                print(line_of(rows[-1]), flush=True)
        except Exception as error:  # unattended: the other ops still run
            rows.append({"case": op, "error": f"{type(error).__name__}: {str(error)[:200]}"})
            print(rows[-1], flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        found = {"machine": machine, "results": rows}
        (folder / "gpu.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
