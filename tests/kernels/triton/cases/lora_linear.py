from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import lora_linear as op

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
CASES = [
    # rows, in, splits, rank, bias
    (1, 1, [1], 1, False),
    (5, 70, [33], 4, True),
    (70, 100, [40, 130, 7], 8, False),
    (130, 64, [200, 60], 20, True),
    (33, 96, [150], 128, False),
]


def keep_mask(x, dropout, seed):
    return op._dropped(torch.ones_like(x, dtype=torch.float32), dropout, seed) > 0


def formula(x, weight, a, b, scale, bias, splits, dy, mask, dropout, dtype):
    """(y, u, dx, da, db) by autograd in `dtype`."""
    leaves = [t.detach().to(dtype).requires_grad_() for t in (x, a, b)]
    x, a, b = leaves
    dropped = x * mask / (1 - dropout)
    r, u = b.shape[1], dropped @ a.t()
    low = [u[:, i * r : (i + 1) * r] @ rows.t() for i, rows in enumerate(b.split(splits))]
    y = x @ weight.to(dtype).t() + scale * torch.cat(low, 1)
    if bias is not None:
        y = y + bias.to(dtype)
    return y, u, *torch.autograd.grad(y, leaves, dy.to(dtype))


@pytest.fixture(params=["triton", "cublas"])
def path(request, monkeypatch):
    if request.param == "triton":
        monkeypatch.setattr(op, "_wins", lambda x: True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows,width,splits,r,with_bias", CASES)
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_forward_and_backward(
    check, device, path, dtype, rows, width, splits, r, with_bias, dropout
):
    if dropout and rows == 1:
        pytest.skip("one element, kept or not, says nothing")
    out = sum(splits)
    x, dy = (
        torch.randn(rows, width, device=device).to(dtype),
        torch.randn(rows, out, device=device).to(dtype),
    )
    weight = (torch.randn(out, width, device=device) / width**0.5).to(dtype)
    # Masters that the working dtype holds exactly: rounding them is not this kernel's error.
    a = (torch.randn(len(splits) * r, width, device=device) / width**0.5).to(dtype).float()
    b = (torch.randn(out, r, device=device) / r**0.5).to(dtype).float()
    bias = torch.randn(out, device=device).to(dtype) if with_bias else None
    scale, seed = 0.7, 1234567890123

    y, u = op.lora_linear_forward(x, weight, a, b, scale, bias, splits, dropout, seed)
    back = op.lora_linear_backward(dy, x, u, weight, a, b, scale, splits, dropout, seed, [True] * 3)
    assert back[1].dtype == back[2].dtype == torch.float32
    mask = keep_mask(x, dropout, seed) if dropout else torch.ones_like(x, dtype=torch.bool)
    arguments = (x, weight, a, b, scale, bias, splits, dy, mask, dropout)
    check((y, u, *back), formula(*arguments, torch.float64), formula(*arguments, dtype), dtype)


def test_only_what_is_needed(device):
    x, weight, a, b = (torch.randn(*s, device=device) for s in [(3, 8), (6, 8), (4, 8), (6, 4)])
    y, u = op.lora_linear_forward(x, weight, a, b, 1.0, None, [6], 0.0, 0)
    for i in range(3):
        needs = [i == j for j in range(3)]
        grads = op.lora_linear_backward(y, x, u, weight, a, b, 1.0, [6], 0.0, 0, needs)
        assert [g is not None for g in grads] == needs


def test_dropout_keeps_the_right_share(device):
    x = torch.ones(100, 100, device=device)
    kept = keep_mask(x, 0.3, 5)
    assert abs(kept.float().mean().item() - 0.7) < 0.02
    assert torch.equal(kept, keep_mask(x, 0.3, 5)) and not torch.equal(kept, keep_mask(x, 0.3, 6))


def test_no_rows(device, path):
    x, weight, a, b = (torch.randn(*s, device=device) for s in [(0, 8), (6, 8), (4, 8), (6, 4)])
    y, u = op.lora_linear_forward(x, weight, a, b, 1.0, None, [6], 0.0, 0)
    assert y.shape == (0, 6) and u.shape == (0, 4)
    dx, da, db = op.lora_linear_backward(y, x, u, weight, a, b, 1.0, [6], 0.0, 0, [True] * 3)
    assert dx.shape == (0, 8) and not da.any() and not db.any()
