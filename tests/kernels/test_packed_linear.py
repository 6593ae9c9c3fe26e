from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast.kernels import pack_weight, packed_linear


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 150), st.integers(1, 90), st.booleans(), st.booleans())
def test_oracle(rows, out, inner, with_bias, wide):
    g = torch.Generator().manual_seed(rows + out + inner)
    x, weight, bias = (
        torch.randn(*shape, generator=g).bfloat16()
        for shape in ((rows, inner), (out, inner), (out,))
    )
    bias = bias if with_bias else None
    exact = torch.nn.functional.linear(
        *(None if t is None else t.double() for t in (x, weight, bias))
    )
    dtype = torch.float32 if wide else torch.bfloat16
    y = packed_linear(x, pack_weight(weight), bias, dtype)
    assert y.dtype == dtype
    assert_close("packed_linear", dtype, y, exact, exact.to(dtype))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="bfloat16"):
        pack_weight(torch.randn(3, 4))
    packed = pack_weight(torch.randn(3, 4).bfloat16())
    with pytest.raises(ValueError, match="x"):
        packed_linear(torch.randn(2, 5).bfloat16(), packed)
    with pytest.raises(ValueError, match="bias"):
        packed_linear(torch.randn(2, 4).bfloat16(), packed, torch.randn(4).bfloat16())


@pytest.mark.parametrize("out,inner", [(70, 64), (130, 48), (64, 576)])
def test_a_row_does_not_depend_on_the_others(out, inner):
    x, packed = torch.randn(100, inner).bfloat16(), pack_weight(torch.randn(out, inner).bfloat16())
    together = packed_linear(x, packed, out_dtype=torch.float32)
    for rows in (1, 2, 7, 16, 17, 31, 33, 64, 99):
        assert torch.equal(packed_linear(x[-rows:], packed, None, torch.float32), together[-rows:])
