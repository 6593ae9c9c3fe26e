from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast import kernels
from dftfast.kernels.reference.rbf_witness import rbf_witness as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def points(n, m, d, dtype, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator) + offset
    y = torch.randn(m, d, generator=generator) + 0.3 + offset
    bandwidths = torch.tensor([0.5, 1.0, 2.0]) * d**0.5
    return x.to(dtype), y.to(dtype), bandwidths


def plain(x, y, bandwidths, exclude_diagonal=False):
    """What one writes without a kernel: the three-term distance from one matrix product."""
    squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.t()
    kernel = torch.exp(-squared.clamp_min(0)[:, :, None] / (2 * bandwidths.to(x.dtype).square()))
    if exclude_diagonal:
        kernel = kernel * (1 - torch.eye(len(x), dtype=x.dtype))[:, :, None]
    return kernel.sum(1) / (len(y) - exclude_diagonal)


def oracle(x, y, bandwidths, exclude_diagonal, cotangent):
    """Value and gradient in fp64 NumPy, from |x - y|² and the gradient's formula."""
    x, y, h = (t.double().numpy() for t in (x, y, bandwidths))
    difference = x[:, None] - y[None]
    kernel = np.exp(-(difference**2).sum(-1)[:, :, None] / (2 * h**2))
    if exclude_diagonal:
        kernel[np.arange(len(x)), np.arange(len(x))] = 0
    count = len(y) - exclude_diagonal
    pull = (kernel / h**2 * cotangent.double().numpy()[:, None]).sum(-1) / count
    return torch.from_numpy(kernel.sum(1) / count), torch.from_numpy(
        -(pull[:, :, None] * difference).sum(1)
    )


def compare(x, y, bandwidths, exclude_diagonal=False, mutation=1.0):
    cotangent = torch.randn(len(x), len(bandwidths), generator=torch.Generator().manual_seed(1))
    results = []
    for function in (kernels.rbf_witness, plain):
        leaf = x.clone().requires_grad_()
        value = function(leaf, y, bandwidths, exclude_diagonal)
        value.backward(cotangent.to(value.dtype))
        results += [value, leaf.grad]
    value, gradient = oracle(x, y, bandwidths, exclude_diagonal, cotangent)
    assert_close("rbf_witness", x.dtype, results[0], value, results[2])
    assert_close("rbf_witness", x.dtype, mutation * results[1], gradient, results[3])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 37),
    st.sampled_from(DTYPES),
    st.integers(0, 5),
)
def test_oracle(n, m, d, dtype, seed):
    compare(*points(n, m, d, dtype, seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 37), st.sampled_from(DTYPES))
def test_oracle_without_the_diagonal(n, d, dtype):
    compare(*points(n, n, d, dtype), exclude_diagonal=True)


def test_oracle_over_several_tiles(monkeypatch):
    module = sys.modules["dftfast.kernels._rbf_witness"]
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "COLUMNS", 19)
    compare(*points(30, 50, 20, torch.float32))
    compare(*points(30, 30, 20, torch.float32), exclude_diagonal=True)


def test_oracle_far_from_the_origin():
    """Plain three-term distances lose every digit here; the bound is that of nearby points."""
    x, y, bandwidths = points(20, 30, 16, torch.float32, offset=1000.0)
    value, _ = oracle(x, y, bandwidths, False, torch.zeros(20, 3))
    assert_close(
        "rbf_witness", torch.float32, kernels.rbf_witness(x, y, bandwidths), value, value.float()
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_off_by_one_percent_fails(dtype):
    arguments = points(40, 50, 24, dtype)
    compare(*arguments)
    with pytest.raises(AssertionError, match="exceeds"):
        compare(*arguments, mutation=1.01)


def test_special_coinciding_points_give_exactly_one():
    x = 100 * torch.randn(5, 33)
    y = x[2:3].repeat(4, 1)
    out = kernels.rbf_witness(x, y, torch.tensor([1e-3]))
    assert out[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    off = kernels.rbf_witness(x, x, torch.tensor([1e-3]), exclude_diagonal=True)
    assert not off.any()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_infinities_and_nan():
    x, y, bandwidths = points(6, 9, 5, torch.float32)
    x[1, 2], y[3, 0] = torch.inf, -torch.inf
    value, _ = oracle(x, y, bandwidths, False, torch.zeros(6, 3))
    out = kernels.rbf_witness(x, y, bandwidths)
    assert not out[1].any()
    assert torch.allclose(out.double(), value, rtol=1e-5)
    y[0, 0] = torch.nan
    assert kernels.rbf_witness(x, y, bandwidths).isnan().all()
    clean, _, _ = points(6, 9, 5, torch.float32)
    x[4, 4] = torch.nan
    assert kernels.rbf_witness(x, clean, bandwidths).isnan().any(1).tolist() == [False] * 4 + [
        True,
        False,
    ]


def test_empty_one_row_and_non_contiguous():
    x, y, bandwidths = points(4, 6, 8, torch.float32)
    assert kernels.rbf_witness(x[:0], y, bandwidths).shape == (0, 3)
    assert kernels.rbf_witness(x, y, bandwidths[:0]).shape == (4, 0)
    expected = kernels.rbf_witness(x, y, bandwidths)
    assert torch.allclose(kernels.rbf_witness(x[1:2], y, bandwidths), expected[1:2])
    assert torch.equal(
        kernels.rbf_witness(x.t().contiguous().t(), y.repeat(1, 2)[:, :8], bandwidths), expected
    )
    leaf = x.t().contiguous().requires_grad_()
    kernels.rbf_witness(leaf.t(), y, bandwidths).sum().backward()
    assert leaf.grad.shape == leaf.shape and leaf.grad.any()


def test_bad_input_is_refused():
    x, y, bandwidths = points(4, 6, 8, torch.float32)
    with pytest.raises(ValueError, match=r"x \[n, d\]"):
        kernels.rbf_witness(x, y[:, :3], bandwidths)
    with pytest.raises(ValueError, match="exclude_diagonal"):
        kernels.rbf_witness(x, y, bandwidths, True)
    with pytest.raises(ValueError, match="no row"):
        kernels.rbf_witness(x, y[:0], bandwidths)
    with pytest.raises(ValueError, match="in x only"):
        kernels.rbf_witness(x, y.requires_grad_(), bandwidths)
    with pytest.raises(TypeError, match="float64"):
        kernels.rbf_witness(x.double(), y.detach().double(), bandwidths)


@pytest.mark.parametrize("exclude_diagonal", [False, True])
def test_reference_gradcheck(exclude_diagonal):
    x, y, bandwidths = points(3, 3, 4, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: reference(x, y, bandwidths, exclude_diagonal), x.requires_grad_()
    )


def test_compiles_without_graph_breaks():
    x, y, bandwidths = points(5, 6, 4, torch.float32)

    def mean(x):
        return kernels.rbf_witness(x * 2, y, bandwidths).mean()

    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.compile(mean, fullgraph=True, backend="aot_eager")(first).backward()
    mean(second).backward()
    assert torch.allclose(first.grad, second.grad)
