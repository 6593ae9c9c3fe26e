from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import rms_norm as op

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def formula(x, residual, weight, eps, dy, dtotal, dtype):
    """(y, total, dx, dweight) by autograd in `dtype`."""
    x, weight = (t.detach().to(dtype).requires_grad_() for t in (x, weight))
    total = x if residual is None else x + residual.to(dtype)
    y = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + eps) * weight
    loss = (y * dy.to(dtype)).sum() + (0 if dtotal is None else (total * dtotal.to(dtype)).sum())
    return y, total, *torch.autograd.grad(loss, [x, weight])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows,d", [(1, 1), (3, 64), (40, 96), (5, 1030)])
@pytest.mark.parametrize("add", [False, True])
def test_forward_and_backward(check, device, dtype, rows, d, add):
    x, residual, dy, dtotal = torch.randn(4, rows, d, device=device).to(dtype)
    weight = (1 + 0.3 * torch.randn(d, device=device)).to(dtype)
    if not add:
        residual = dtotal = None
    # The exact answer starts from the sum as it is stored.
    exact_of = (x if residual is None else x + residual, None)
    exact = formula(*exact_of, weight, 1e-5, dy, dtotal, torch.float64)
    plain = formula(*exact_of, weight, 1e-5, dy, dtotal, dtype)
    if add:
        y, total = op.add_rms_norm_forward(x, residual, weight, 1e-5)
        dx, dweight = op.add_rms_norm_backward(dy, dtotal, total, weight, 1e-5)
        frozen = op.add_rms_norm_backward(dy, dtotal, total, weight, 1e-5, weight_grad=False)
        assert torch.equal(total, x + residual)
    else:
        y, total = op.rms_norm_forward(x, weight, 1e-5), x
        dx, dweight = op.rms_norm_backward(dy, x, weight, 1e-5)
        frozen = op.rms_norm_backward(dy, x, weight, 1e-5, weight_grad=False)
    check((y, total, dx, dweight), exact, plain, dtype)
    assert torch.equal(frozen[0], dx) and frozen[1] is None


def test_no_rows(device):
    x, weight = torch.empty(0, 8, device=device), torch.ones(8, device=device)
    assert op.rms_norm_forward(x, weight, 1e-6).shape == (0, 8)
    dx, dweight = op.rms_norm_backward(x, x, weight, 1e-6)
    assert dx.shape == (0, 8) and torch.equal(dweight, torch.zeros_like(weight))


def test_a_nan_stays_in_its_row(device):
    x = torch.randn(3, 16, device=device)
    x[1, 4] = float("nan")
    y = op.rms_norm_forward(x, torch.ones(16, device=device), 1e-6)
    assert y[1].isnan().all() and y[[0, 2]].isfinite().all()
