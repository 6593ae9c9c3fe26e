"""Launchers against fp64, on the card where there is one and in Triton's interpreter elsewhere.

Run through test_launchers.py, or by hand: TRITON_INTERPRET=1 pytest
tests/kernels/triton/cases/rms_norm.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import triton.language as tl
from tolerance import assert_close, assert_own_memory
from triton.runtime import interpreter


def _exact_bf16(convert):
    """The interpreter truncates to bf16 where the card rounds to nearest even."""

    def converted(data, source, target, rounding):
        if source == tl.float32 and target == tl.bfloat16:
            values = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(
                torch.bfloat16
            )
            return values.view(torch.int16).numpy().view(np.uint16)
        return convert(data, source, target, rounding)

    return converted


def _bf16_dot(dot):
    """The interpreter keeps bf16 as its bits and multiplies those; it has to see numbers."""

    def fixed(self, a, b, d, *rest):
        def widened(operand):
            return (
                self.cast_impl(operand, tl.float32)
                if operand.dtype.scalar == tl.bfloat16
                else operand
            )

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


@pytest.fixture
def check(request):
    """check(got, exact fp64, plain torch's in the working dtype, dtype), by tolerance.py."""
    op = request.path.stem

    def compare(got, exact, plain, dtype):
        assert_own_memory(got)
        for one, true, usual in zip(got, exact, plain, strict=True):
            assert_close(op, dtype, one, true, usual)

    return compare
