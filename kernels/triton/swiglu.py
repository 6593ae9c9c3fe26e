"""silu(gate) * up, elementwise on the packed output of the gate/up projection."""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv

BLOCK = 1024


@triton.jit
def _forward(gate_up, y, width, BLOCK: tl.constexpr):
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    row = tl.program_id(0).to(tl.int64)
    gate = tl.load(gate_up + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(
        y + row * width + column, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=inside
    )


@triton.jit
def _backward(dy, gate_up, dgate_up, width, BLOCK: tl.constexpr):
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    row = tl.program_id(0).to(tl.int64)
    gate = tl.load(gate_up + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(dy + row * width + column, mask=inside, other=0.0).to(tl.float32)
    s = tl.sigmoid(gate)
    dgate = g * up * s * (1.0 + gate * (1.0 - s))
    dup = g * gate * s
    tl.store(dgate_up + row * 2 * width + column, dgate.to(dgate_up.dtype.element_ty), mask=inside)
    tl.store(
        dgate_up + row * 2 * width + width + column, dup.to(dgate_up.dtype.element_ty), mask=inside
    )


def swiglu_forward(gate_up: torch.Tensor) -> torch.Tensor:
    gate_up = gate_up.contiguous()
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    y = gate_up.new_empty(rows, width)
    if y.numel():
        _forward[(rows, cdiv(width, BLOCK))](gate_up, y, width, BLOCK=BLOCK, num_warps=4)
    return y


def swiglu_backward(dy: torch.Tensor, gate_up: torch.Tensor) -> torch.Tensor:
    dy, gate_up = dy.contiguous(), gate_up.contiguous()
    rows, width = dy.shape
    dgate_up = torch.empty_like(gate_up)
    if dy.numel():
        _backward[(rows, cdiv(width, BLOCK))](
            dy, gate_up, dgate_up, width, BLOCK=BLOCK, num_warps=4
        )
    return dgate_up
