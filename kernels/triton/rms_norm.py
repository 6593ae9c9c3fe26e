"""RMSNorm and RMSNorm of a residual sum: one pass over the rows forward, one backward.

A program holds whole rows in registers. The backward pass walks the rows in a fixed grid, so that
each program keeps its share of the weight's gradient in registers; the shares are summed
afterwards, in a fixed order.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import power_of_2, processors


@triton.jit
def _forward(x, residual, weight, y, total, d, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    inside = column < d
    at = tl.program_id(0).to(tl.int64) * d + column
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        v += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        # The norm sees the sum as the next layer will read it, after rounding.
        rounded = v.to(total.dtype.element_ty)
        tl.store(total + at, rounded, mask=inside)
        v = rounded.to(tl.float32)
    rstd = tl.rsqrt(tl.sum(v * v, 0) / d + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, (v * rstd * w).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    dy,
    dtotal,
    x,
    weight,
    dx,
    dweight,
    rows,
    d,
    eps,
    ADD: tl.constexpr,
    WEIGHT_GRAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    column = tl.arange(0, BLOCK)
    inside = column < d
    program = tl.program_id(0)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    dw = tl.zeros([BLOCK], tl.float32)
    for row in range(program, rows, tl.num_programs(0)):
        at = tl.cast(row, tl.int64) * d + column
        v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.rsqrt(tl.sum(v * v, 0) / d + eps)
        normed = v * rstd
        if WEIGHT_GRAD:
            dw += g * normed
        g *= w
        grad = rstd * (g - normed * (tl.sum(g * normed, 0) / d))
        if ADD:
            grad += tl.load(dtotal + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(dx + at, grad.to(dx.dtype.element_ty), mask=inside)
    if WEIGHT_GRAD:
        tl.store(dweight + program.to(tl.int64) * d + column, dw, mask=inside)


def _block(d: int) -> tuple[int, int]:
    """Row block and warps: eight elements a thread until 16 warps are in use."""
    block = power_of_2(d)
    return block, min(max(block // 256, 1), 16)


def _launch_forward(x, residual, weight, eps):
    x, weight = x.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    rows, d = x.shape
    y = torch.empty_like(x)
    total = None if residual is None else torch.empty_like(x)
    block, warps = _block(d)
    if rows:
        _forward[(rows,)](
            x,
            residual,
            weight,
            y,
            total,
            d,
            eps,
            ADD=residual is not None,
            BLOCK=block,
            num_warps=warps,
        )
    return y, total


def _launch_backward(dy, dtotal, x, weight, eps, weight_grad):
    dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
    dtotal = None if dtotal is None else dtotal.contiguous()
    rows, d = x.shape
    dx = torch.empty_like(x)
    programs = min(rows, 4 * processors(x.device))
    dweight = (
        torch.empty(programs, d, dtype=torch.float32, device=x.device) if weight_grad else None
    )
    block, warps = _block(d)
    if rows:
        _backward[(programs,)](
            dy,
            dtotal,
            x,
            weight,
            dx,
            dweight,
            rows,
            d,
            eps,
            ADD=dtotal is not None,
            WEIGHT_GRAD=weight_grad,
            BLOCK=block,
            num_warps=warps,
        )
    return dx, None if dweight is None else dweight.sum(0).to(weight.dtype)


def rms_norm_forward(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return _launch_forward(x, None, weight, eps)[0]


def rms_norm_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float, weight_grad: bool = True
):
    """(dx, dweight or None).

    The inverse root mean square is computed again from x, which has to be read anyway.
    """
    return _launch_backward(dy, None, x, weight, eps, weight_grad)


def add_rms_norm_forward(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float):
    """(y, x + residual)."""
    y, total = _launch_forward(x, residual, weight, eps)
    assert total is not None
    return y, total


def add_rms_norm_backward(
    dy: torch.Tensor,
    dtotal: torch.Tensor,
    total: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    weight_grad: bool = True,
):
    """(gradient of x, which is the gradient of residual as well, and dweight or None)."""
    return _launch_backward(dy, dtotal, total, weight, eps, weight_grad)
