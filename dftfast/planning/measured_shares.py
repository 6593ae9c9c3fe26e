"""The shares of a card's limits from the figures that benchmarks/gpu.py wrote on it."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from dftfast.planning.chips import Shares
from dftfast.runtime.errors import UserError

_LAYERS = r"Qwen3-(4B|14B)"
_SDPA = "scaled_dot_product_attention, contiguous cache / ours"


def read_shares(file: str | Path) -> Shares:
    """The shares of the card that a gpu.json is from.

    Raises:
        UserError: there is no such file, or a case is missing in it.
    """
    try:
        return shares_of(json.loads(Path(file).read_text(encoding="utf-8"))["results"])
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise UserError(
            f"--measured: {file} is not a complete gpu.json of benchmarks/gpu.py: {wrong}"
        ) from None


def shares_of(results: Iterable[dict]) -> Shares:
    """Medians over the layers of Qwen3-4B and 14B.

    Training takes torch's products and attention, so those are the peers' figures: a peer's share
    is ours by the ratio of the times.

    Args:
        results: the entry of that name in gpu.json.

    Raises:
        ValueError: a case is missing.
    """
    results = list(results)

    def median(case: str, limit: str, peer: str = "") -> float:
        found = [
            each[f"share_of_{limit}"] / (each[peer] if peer else 1)
            for each in results
            if re.fullmatch(case, each["case"]) and (not peer or peer in each)
        ]
        if not found:
            raise ValueError(f"no case matches {case}")
        return min(statistics.median(found), 1.0)

    layer = f"{_LAYERS} (qkv|gate_up) r=64"
    bare = "base product alone / ours"
    rows = f"(add_rms_norm|swiglu|qk_norm_rope) (backward )?{_LAYERS}.*"
    products = median(f"lora_linear (dX )?{layer} rows=4096", "matrix_rate", "cublas / ours")
    return Shares(
        products=products,
        attention=median(f"prefill {_LAYERS}.*", "matrix_rate", _SDPA),
        head=median(f"linear_cross_entropy {_LAYERS}.*", "matrix_rate"),
        rows=median(rows, "copy_bandwidth"),
        prompt_products=products,
        prompt_attention=median(f"prefill {_LAYERS}.*", "matrix_rate"),
        step_products=median(f"lora_linear {layer} rows=256", "matrix_rate", bare),
        step_weights=median(f"lora_linear {layer} rows=16", "copy_bandwidth", bare),
        step_cache=median(f"decode {_LAYERS}.*", "copy_bandwidth"),
        sampler=median("sample_tokens 512 rows, plain", "copy_bandwidth"),
        filtered_sampler=median("sample_tokens 512 rows, top-.*", "copy_bandwidth"),
    )
