from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import rbf_witness as op


def formula(x, y, bandwidths, exclude, grad, dtype):
    x = x.detach().to(dtype).requires_grad_()
    y, h = y.to(dtype), bandwidths.to(dtype)
    squared = (x[:, None] - y[None]).square().sum(-1)
    kernel = torch.exp(-squared[..., None] / (2 * h.square()))
    if exclude:
        kernel = kernel * (1 - torch.eye(len(x), device=x.device, dtype=dtype))[..., None]
    means = kernel.sum(1) / (len(y) - exclude)
    return means, *torch.autograd.grad(means, x, grad.to(dtype))


@pytest.mark.parametrize(
    "n,m,d,k", [(1, 1, 1, 1), (2, 300, 5, 3), (150, 33, 70, 1), (130, 130, 384, 5)]
)
@pytest.mark.parametrize("exclude", [False, True])
def test_forward_and_backward(check, device, n, m, d, k, exclude):
    if exclude:
        m = n = max(n, 2)
    x, y = torch.randn(n, d, device=device) + 1, torch.randn(m, d, device=device) + 1
    if exclude:
        y = x.clone()
    y[0] = x[0]  # a duplicate point
    bandwidths = d**0.5 * (0.5 + torch.arange(k, device=device, dtype=torch.float32))
    grad = torch.randn(n, k, device=device)
    got = (
        op.rbf_witness_forward(x, y, bandwidths, exclude),
        op.rbf_witness_backward(grad, x, y, bandwidths, exclude),
    )
    exact = formula(x, y, bandwidths, exclude, grad, torch.float64)
    check(got, exact, formula(x, y, bandwidths, exclude, grad, torch.float32), torch.float32)


def test_far_from_the_origin(check, device):
    x, y = torch.randn(9, 16, device=device) + 300, torch.randn(7, 16, device=device) + 300
    h, grad = torch.tensor([4.0], device=device), torch.ones(9, 1, device=device)
    exact, plain = (formula(x, y, h, False, grad, t)[:1] for t in (torch.float64, torch.float32))
    check((op.rbf_witness_forward(x, y, h, False),), exact, plain, torch.float32)


def test_the_backward_pass_in_several_pieces(check, device, monkeypatch):
    monkeypatch.setattr(op, "SCRATCH", 1)
    x, y = torch.randn(300, 4, device=device), torch.randn(20, 4, device=device)
    h, grad = torch.tensor([1.0, 2.0], device=device), torch.randn(300, 2, device=device)
    exact, plain = (formula(x, y, h, False, grad, t)[1:] for t in (torch.float64, torch.float32))
    check((op.rbf_witness_backward(grad, x, y, h, False),), exact, plain, torch.float32)


def test_nan_stays_visible(device):
    x, y = torch.randn(3, 4, device=device), torch.randn(5, 4, device=device)
    x[1, 2] = float("nan")
    means = op.rbf_witness_forward(x, y, torch.ones(1, device=device), False)
    assert means[1].isnan().all() and means[[0, 2]].isfinite().all()


def test_nothing_to_average(device):
    h = torch.ones(2, device=device)
    assert op.rbf_witness_forward(
        torch.empty(0, 3, device=device), torch.randn(4, 3, device=device), h, False
    ).shape == (0, 2)
    one = torch.randn(1, 3, device=device)
    assert op.rbf_witness_forward(one, one, h, True).isnan().all()
