"""How far an op may be from the fp64 oracle: twice plain torch's distance, plus a floor.

Three measures, all relative to the oracle's size, because each misses what another sees:
  rms    root mean square error: the typical entry
  max    largest error over the largest entry: a single wrong entry
  scale  <actual, oracle> / <oracle, oracle> - 1: a systematic factor, which rounding averages
         away and which low precision would otherwise hide. This is what makes a gradient off by
         1 % fail in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Floors (rms, max, scale) by dtype: what a different order of summation may cost beyond plain
# torch.
FLOOR = {
    torch.float32: (2e-6, 1e-5, 1e-6),
    torch.bfloat16: (2e-3, 8e-3, 1e-3),
    torch.float16: (3e-4, 1e-3, 2e-4),
}

# Floors of ops that need other ones, by (op, dtype); the reason stands beside each.
FLOOR_BY_OP = {
    # The base product is rounded to the dtype before the low-rank part is added to it in place.
    ("lora_linear", torch.bfloat16): (4e-3, 1.6e-2, 4e-3),
    ("lora_linear", torch.float16): (6e-4, 2e-3, 6e-4),
    # Sums of exponentials of squared distances: |x|² + |y|² - 2xy rounds once more than (x - y)².
    ("rbf_witness", torch.float32): (5e-6, 2e-5, 3e-6),
    # The backward gets max + log Σ exp as one float, so every log-probability carries its rounding.
    ("linear_logprob", torch.float32): (5e-6, 1e-5, 5e-6),
    ("linear_cross_entropy", torch.float32): (5e-6, 1e-5, 5e-6),
}


def errors(actual: Tensor, oracle: Tensor) -> tuple[float, float, float]:
    actual, oracle = actual.detach().double().flatten(), oracle.detach().double().flatten()
    difference, energy = actual - oracle, oracle.square().sum()
    if energy == 0:
        largest = difference.abs().max().item() if len(difference) else 0.0
        return largest, largest, 0.0
    rms = (difference.square().sum() / energy).sqrt().item()
    scale = ((difference * oracle).sum() / energy).abs().item()
    return rms, (difference.abs().max() / oracle.abs().max()).item(), scale


def assert_close(
    op: str, dtype: torch.dtype, actual: Tensor, oracle: Tensor, plain: Tensor
) -> None:
    """Raise where the op is further off than allowed.

    A few numbers are no better than their own rounding, in which torch's may have been lucky: their
    rms and their scale may be off by three standard deviations of that as well, which vanish as
    the tensor grows.

    actual: the op's result for inputs of `dtype`; plain: plain torch's for the same inputs in
    the same dtype; oracle: float64, computed from the same (rounded) inputs by an independent
    formula."""
    assert actual.shape == oracle.shape, (
        f"{op}: shape {tuple(actual.shape)}, not {tuple(oracle.shape)}"
    )
    finite = oracle.isfinite()
    assert torch.equal(
        actual.double()[~finite].nan_to_num(nan=0.5), oracle[~finite].nan_to_num(nan=0.5)
    ), f"{op}: infinities or NaN differ from the oracle's"
    floors = FLOOR_BY_OP.get((op, dtype), FLOOR[dtype])
    measured = errors(actual[finite], oracle[finite])
    allowed = errors(plain[finite], oracle[finite])
    squares = oracle[finite].square()
    rounding = torch.finfo(dtype).eps * (squares.norm() / squares.sum().clamp_min(1e-300)).item()
    floors = (floors[0] + rounding, floors[1], floors[2] + rounding)
    for name, error, torchs, floor in zip(("rms", "max", "scale"), measured, allowed, floors):
        assert error <= 2 * torchs + floor, (
            f"{op}: {name} error {error:.2e} exceeds 2 x {torchs:.2e} + {floor:.1e}"
        )


def assert_own_memory(outputs: list[Tensor] | tuple[Tensor, ...]) -> None:
    """Raise where two outputs share memory: torch refuses a custom op that returns such."""
    places = [output.untyped_storage().data_ptr() for output in outputs if output.numel()]
    assert len(set(places)) == len(places), "two outputs share memory"
