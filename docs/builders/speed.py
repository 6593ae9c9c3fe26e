"""Speed of the operators on a GPU beside their peers, of the kernels that are still there."""

from __future__ import annotations

import json
from pathlib import Path

from builders.svg_charts import bars

# What gpu.json calls a case -> how it is shown, and its peer. The head, the sampler and lora_linear
# have been written anew since that run, and are left out.
CASES = {
    "add_rms_norm Qwen3-4B 8192 rows": ("add_rms_norm", "torch"),
    "swiglu Qwen3-4B 8192 rows": ("swiglu", "torch"),
    "qk_norm_rope Qwen3-4B 8192 tokens": ("qk_norm_rope", "torch"),
    "rbf_witness n=m=2000 d=384 3 bandwidths": ("rbf_witness", "torch.cdist"),
    "decode Qwen3-4B 256 x 512": ("decode", "SDPA, contiguous cache"),
    "prefill Qwen3-4B 16 x 1024": ("prefill", "SDPA, contiguous cache"),
}


def speed_chart(measured: Path) -> str:
    rows = [(label, ratio) for label, _, _, ratio, _ in _rows(measured)]
    return bars(rows, "Speed of the operators beside their peers", "peer's time over ours, H100")


def speed_table(measured: Path) -> str:
    machine = json.loads(measured.read_text(encoding="utf-8"))["machine"]
    lines = [
        f"| {label} | {peer} | {ms:.3f} | {ratio:.2f} | {100 * share:.0f}% |"
        for label, peer, ms, ratio, share in _rows(measured)
    ]
    head = "| operator | peer | ours, ms | peer / ours | share |"
    said = (
        f"{machine['device']}, torch {machine['torch']}, triton {machine['triton']}, bf16, "
        "layers of Qwen3-4B.\n"
        f"A share is of the copy bandwidth that the same run measured, "
        f"{machine['copy_gb_s']:,.0f} GB/s.\n"
    )
    return "\n".join([said, head, "|---|---|---|---|---|", *lines, ""])


def _rows(measured: Path) -> list[tuple[str, str, float, float, float]]:
    """(operator, peer, milliseconds, peer's time over ours, share of the copy bandwidth)."""
    cases = json.loads(measured.read_text(encoding="utf-8"))["results"]
    found = {case["case"]: case for case in cases}
    return [
        (label, peer, case["ms"], _ratio(case), case["share_of_copy_bandwidth"])
        for name, (label, peer) in CASES.items()
        if (case := found.get(name))
    ]


def _ratio(case: dict) -> float:
    return next(value for name, value in case.items() if name.endswith("/ ours"))
