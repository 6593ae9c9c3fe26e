"""Launchers against fp64, on the card where there is one and in Triton's interpreter elsewhere.

Run through test_launchers.py, or by hand: TRITON_INTERPRET=1 pytest tests/kernels/triton/cases/rms_norm.py
"""
from __future__ import annotations

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime import interpreter

# Error allowed beyond twice that of plain torch in the same dtype, as a share of the norm of the result.
FLOOR = {torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 4e-3}


def _exact_bf16(convert):
    """The interpreter truncates to bf16 where the card rounds to nearest even."""

    def converted(data, source, target, rounding):
        if source == tl.float32 and target == tl.bfloat16:
            values = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(torch.bfloat16)
            return values.view(torch.int16).numpy().view(np.uint16)
        return convert(data, source, target, rounding)

    return converted


def _bf16_dot(dot):
    """The interpreter keeps bf16 as its bits and multiplies those; it has to see numbers."""

    def fixed(self, a, b, d, *rest):
        def widened(operand):
            return self.cast_impl(operand, tl.float32) if operand.dtype.scalar == tl.bfloat16 else operand

        return dot(self, widened(a), widened(b), d, *rest)

    return fixed


interpreter._convert_float = _exact_bf16(interpreter._convert_float)
interpreter.InterpreterBuilder.create_dot = _bf16_dot(interpreter.InterpreterBuilder.create_dot)


@pytest.fixture
def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False


def relative_error(value, exact):
    value, exact = value.detach().double().cpu(), exact.detach().double().cpu()
    assert value.shape == exact.shape
    assert torch.isfinite(value).all()
    return ((value - exact).norm() / exact.norm().clamp_min(1e-30)).item() if exact.numel() else 0.0


@pytest.fixture
def check():
    """check(got, exact fp64, the same from plain torch in the working dtype, dtype)."""

    def compare(got, exact, plain, dtype):
        for one, true, usual in zip(got, exact, plain, strict=True):
            allowed = 2 * relative_error(usual, true) + FLOOR[dtype]
            error = relative_error(one, true)
            assert error <= allowed, f"error {error:.2e} where {allowed:.2e} is allowed"

    return compare
