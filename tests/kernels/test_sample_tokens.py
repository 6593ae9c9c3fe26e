"""The sampler against the plain op in fp64, row for row, and its own distribution against counts."""

from __future__ import annotations

import pytest
import torch

from dftfast.kernels import sample_tokens
from dftfast.kernels.reference.sample_tokens import philox_uniform
from dftfast.kernels.reference.sample_tokens import sample_tokens as reference

ROWS, VOCAB = 64, 1003


def arguments(rows: int, **settings) -> list[torch.Tensor]:
    values = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **settings}
    types = (torch.float32, torch.int32, torch.float32, torch.float32)
    columns = [torch.full((rows,), value, dtype=dtype) for value, dtype in zip(values.values(), types)]
    return [*columns, torch.full((rows,), 3), torch.arange(rows), torch.arange(rows) * 7 + (5 << 32)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.0}, {"temperature": 0.6}, {"temperature": 3.0}, {"top_k": 7}, {"top_k": VOCAB}, {"top_k": 1},
     {"top_p": 0.6}, {"top_p": 1e-6}, {"min_p": 0.05}, {"min_p": 1.0},
     {"temperature": 1.4, "top_k": 50, "top_p": 0.8, "min_p": 0.02}],
)  # fmt: skip
def test_equals_the_plain_op(settings, dtype):
    torch.manual_seed(0)
    logits = 3 * torch.randn(ROWS, VOCAB)
    if dtype == torch.bfloat16:  # no ties: they are all kept by the fused op and cut in order by the plain one
        logits = (torch.arange(-120, -120 + 240)[torch.randperm(240)] * 0.125).bfloat16().repeat(8, 1)
    logits[:, 5] = -torch.inf
    args = arguments(len(logits), **settings)
    token, *figures = sample_tokens(logits, *args)
    expected_token, *expected = reference(logits, *args)
    assert torch.equal(token, expected_token)
    for figure, value in zip(figures, expected):
        torch.testing.assert_close(figure, value, rtol=0, atol=1e-5)


def test_philox_known_answer():
    """First word of the zero vector in the Random123 distribution's kat_vectors: 6627e8d5."""
    zero = torch.zeros(1, dtype=torch.int64)
    assert philox_uniform(zero, zero, zero).item() == ((0x6627E8D5 >> 9) + 0.5) / 2**23


def test_a_row_does_not_depend_on_the_others():
    torch.manual_seed(1)
    logits = torch.randn(ROWS, VOCAB)
    args = arguments(ROWS, top_p=0.9)
    together = sample_tokens(logits, *args)
    for i in (0, 13, 63):
        alone = sample_tokens(logits[i : i + 1], *(value[i : i + 1] for value in args))
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together))


def test_wrong_shapes_and_dtypes_are_refused():
    args = arguments(2)
    with pytest.raises(ValueError, match=r"logits \[B, V\] expected"):
        sample_tokens(torch.zeros(5), *args)
    with pytest.raises(ValueError, match="int32"):
        sample_tokens(torch.zeros(2, 5), args[0], args[1].long(), *args[2:])


def test_operator_is_registered_correctly():
    torch.library.opcheck(torch.ops.dftfast.sample_tokens, (torch.randn(3, 40), *arguments(3)))
