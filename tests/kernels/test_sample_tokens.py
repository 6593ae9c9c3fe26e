"""Every draw against the fp64 distribution and the random number that it inverts.

Held to it are the op and its plain twin.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.kernels import sample_tokens
from dftfast.kernels.reference.sample_tokens import philox_uniform
from dftfast.kernels.reference.sample_tokens import sample_tokens as reference

ROWS, VOCAB = 64, 1003


def arguments(rows: int, **cut) -> list[torch.Tensor]:
    values = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **cut}
    types = (torch.float32, torch.int32, torch.float32, torch.float32)
    columns = [
        torch.full((rows,), value, dtype=dtype) for value, dtype in zip(values.values(), types)
    ]
    return [
        *columns,
        torch.full((rows,), 3),
        torch.arange(rows),
        torch.arange(rows) * 7 + (5 << 32),
    ]


def truncated(logits, temperature, top_k, top_p, min_p):
    """Log-probabilities of what may be drawn from one row, in fp64 NumPy and by sorting."""
    top_p, min_p, temperature = (float(np.float32(value)) for value in (top_p, min_p, temperature))
    z = logits / temperature
    keep = z > -np.inf
    if 0 < top_k < len(z):
        keep &= z >= np.sort(z)[-top_k]
    if top_p < 1:
        p = np.where(keep, np.exp(z - z.max()), 0.0)
        descending = np.sort(p)[::-1] / p.sum()
        before = np.cumsum(descending) - descending
        keep &= p / p.sum() >= descending[before < max(top_p, 1e-12)].min()
    if min_p > 0:
        keep &= np.exp(z - z.max()) >= min(min_p, 1.0)
    z = np.where(keep, z, -np.inf) - z.max()
    return z - np.log(np.exp(z).sum())


def compare(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, function=sample_tokens):
    args = arguments(len(logits), temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    token, *figures = (t.numpy() for t in function(logits, *args))
    uniform = philox_uniform(*args[-3:]).double().numpy()
    for i, row in enumerate(logits.double().numpy()):
        model = truncated(row, 1.0, 0, 1.0, 0.0)
        kept = (
            truncated(row, temperature, top_k, top_p, min_p)
            if temperature
            else np.where(row == row.max(), 0.0, -np.inf)
        )
        entropy = -sum(np.exp(lp) * lp for lp in model if lp > -np.inf)
        assert [f[i] for f in figures] == pytest.approx(
            [model[token[i]], kept[token[i]], entropy], rel=2e-6, abs=1e-5
        )
        if temperature:
            below = np.exp(kept[: token[i]]).sum()
            assert below - 2e-6 <= uniform[i] <= below + np.exp(kept[token[i]]) + 2e-6
        else:
            assert token[i] == row.argmax()


def some_logits(rows, vocab, dtype, spread=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, vocab, generator=generator)
    logits[torch.rand(rows, vocab, generator=generator) < 0.1] = -torch.inf
    logits[:, vocab // 2] = 0.0
    return logits.to(dtype)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 4),
    st.one_of(st.integers(1, 40), st.integers(200, 1500)),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.sampled_from([0.2, 3.0, 40.0]),
    st.sampled_from([0.0, 0.1, 0.7, 1.0, 2.5]),
    st.sampled_from([0, 1, 3, 50, 5000]),
    st.sampled_from([0.0, 0.13, 0.57, 0.93, 0.9999, 1.0]),
    st.sampled_from([0.0, 0.07, 0.6, 1.0]),
    st.integers(0, 3),
)
def test_oracle(rows, vocab, dtype, spread, temperature, top_k, top_p, min_p, seed):
    logits = some_logits(
        rows, vocab, dtype, spread, seed
    )  # in the narrow dtypes a good many are equal
    compare(logits, temperature, top_k, top_p, min_p)
    compare(logits, temperature, top_k, top_p, min_p, reference)


CUTS = [
    {},
    {"temperature": 0.6},
    {"top_k": 7},
    {"top_k": 900},
    {"top_p": 0.6},
    {"top_p": 0.97},
    {"min_p": 0.05},
    {"temperature": 1.4, "top_k": 50, "top_p": 0.8, "min_p": 0.02},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_oracle_on_a_real_vocabulary(cut):
    compare(some_logits(3, 49_152, torch.float32, 2.0), **cut)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_same_tokens_as_the_plain_op(cut):
    logits = some_logits(ROWS, VOCAB, torch.float32)
    args = arguments(ROWS, **cut)
    assert torch.equal(sample_tokens(logits, *args)[0], reference(logits, *args)[0])


@pytest.mark.parametrize("function", [sample_tokens, reference])
def test_oracle_equal_logits_are_kept_or_dropped_together(function):
    """Three of five are the likeliest: cuts that ask for one or two keep all three."""
    logits = torch.tensor([1.0, 3.0, 0.0, 3.0, 3.0]).repeat(200, 1)
    for cut in (
        {"top_k": 1},
        {"top_k": 2},
        {"top_p": 0.1},
        {"top_p": 0.0},
        {"top_p": 0.5},
        {"min_p": 1.0},
    ):
        token, _, sampler_logprob, _ = function(logits, *arguments(200, **cut))
        assert set(token.tolist()) == {1, 3, 4}, cut
        assert sampler_logprob.tolist() == pytest.approx([-np.log(3)] * 200)
    assert function(logits, *arguments(200, temperature=0.0))[0].unique().tolist() == [1]
    bands = (
        torch.arange(5.0).repeat(300).repeat(100, 1)
    )  # each value 300 times, over several of the kernel's shares
    token, _, sampler_logprob, _ = function(bands, *arguments(100, top_k=301))
    assert set((token % 5).tolist()) == {3, 4}
    assert sampler_logprob.exp().unique().tolist() == pytest.approx(
        np.exp([-1, 0]) / (300 * (1 + np.exp(-1)))
    )


@pytest.mark.parametrize("function", [sample_tokens, reference])
def test_special_infinities_and_nan(function):
    """No distribution: token 0 and NaN, in that row only. Finite logits of any size have one."""
    logits = torch.randn(7, 700)
    logits[0, 30], logits[1, 699], logits[2], logits[3, 600] = (
        torch.nan,
        torch.nan,
        -torch.inf,
        torch.inf,
    )
    logits[4] *= 1e37
    logits[5] = -torch.inf
    logits[5, 699] = -3e38
    for cut in (*CUTS, {"temperature": 0.0}, {"temperature": 1e-30}, {"top_p": 0.999999}):
        token, *figures = function(logits, *arguments(7, **cut))
        assert token[:4].tolist() == [0] * 4
        assert token[4] == logits[4].argmax() and token[5] == 699
        for figure in figures:
            assert figure[:4].isnan().all() and figure[4:].isfinite().all()
            assert figure[4:6].abs().max() == 0


def test_empty_one_row_one_word_and_non_contiguous():
    assert [t.shape for t in sample_tokens(torch.empty(0, 9), *arguments(0))] == [(0,)] * 4
    compare(torch.randn(1, 300), top_p=0.7)
    token, *figures = sample_tokens(torch.full((3, 1), 2.5), *arguments(3, top_p=0.5))
    assert not token.any() and not any(figure.any() for figure in figures)
    logits, args = torch.randn(300, 6), arguments(6, top_k=20)
    strided = [value.repeat_interleave(2)[::2] for value in args]
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            sample_tokens(logits.t(), *strided), sample_tokens(logits.t().contiguous(), *args)
        )
    )


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
    with pytest.raises(ValueError, match=r"logits \[B, V\] with V > 0 expected"):
        sample_tokens(torch.zeros(5), *args)
    with pytest.raises(ValueError, match="V > 0"):
        sample_tokens(torch.zeros(2, 0), *args)
    with pytest.raises(TypeError, match="float64"):
        sample_tokens(torch.zeros(2, 5).double(), *args)
    with pytest.raises(ValueError, match="int32"):
        sample_tokens(torch.zeros(2, 5), args[0], args[1].long(), *args[2:])
