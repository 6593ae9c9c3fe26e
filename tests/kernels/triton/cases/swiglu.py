from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import swiglu as op


def formula(gate_up, dy, dtype):
    gate_up = gate_up.detach().to(dtype).requires_grad_()
    gate, up = gate_up.chunk(2, -1)
    y = torch.nn.functional.silu(gate) * up
    return y, *torch.autograd.grad(y, gate_up, dy.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows,width", [(1, 1), (3, 100), (2, 1500)])
def test_forward_and_backward(check, device, dtype, rows, width):
    gate_up = (2 * torch.randn(rows, 2 * width, device=device)).to(dtype)
    dy = torch.randn(rows, width, device=device).to(dtype)
    got = op.swiglu_forward(gate_up), *op.swiglu_backward(dy, gate_up)
    check(got, formula(gate_up, dy, torch.float64), formula(gate_up, dy, dtype), dtype)
    halves = [t.contiguous() for t in gate_up.chunk(2, 1)]
    assert torch.equal(op.swiglu_forward(*halves), got[0])
    assert torch.equal(torch.cat(op.swiglu_backward(dy, *halves), 1), got[1])


def test_no_rows(device):
    empty = torch.empty(0, 8, device=device)
    assert op.swiglu_forward(empty).shape == (0, 4)
    (gradient,) = op.swiglu_backward(torch.empty(0, 4, device=device), empty)
    assert gradient.shape == (0, 8)


def test_large_gates_do_not_overflow(device):
    gate_up = torch.tensor([[-1e4, 1e4, 1.0, 1.0]], device=device)
    torch.testing.assert_close(
        op.swiglu_forward(gate_up), torch.tensor([[0.0, 1e4]], device=device)
    )
    (gradient,) = op.swiglu_backward(torch.ones(1, 2, device=device), gate_up)
    assert gradient.isfinite().all()


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="every row is computed: too slow in the interpreter"
)
def test_more_than_two_to_the_31_elements(check, device):
    gate_up = torch.randn(2**17 + 2, 2**14, device=device, dtype=torch.bfloat16)
    dy = torch.ones(2**17 + 2, 2**13, device=device, dtype=torch.bfloat16)
    got = op.swiglu_forward(gate_up)[-1:], op.swiglu_backward(dy, gate_up)[0][-1:]
    check(
        got,
        formula(gate_up[-1:], dy[-1:], torch.float64),
        formula(gate_up[-1:], dy[-1:], torch.bfloat16),
        torch.bfloat16,
    )
