"""silu(gate) * up, elementwise, of separate tensors or of halves of one packed row."""

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
def _forward(gate, up, y, stride, width, BLOCK: tl.constexpr):
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    row = tl.program_id(0).to(tl.int64)
    g = tl.load(gate + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * width + column, (g * tl.sigmoid(g) * u).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(dy, gate, up, dgate, dup, stride, width, BLOCK: tl.constexpr):
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    row = tl.program_id(0).to(tl.int64)
    g = tl.load(gate + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(dy + row * width + column, mask=inside, other=0.0).to(tl.float32)
    s = tl.sigmoid(g)
    by_gate, by_up = d * u * s * (1.0 + g * (1.0 - s)), d * g * s
    tl.store(dgate + row * stride + column, by_gate.to(dgate.dtype.element_ty), mask=inside)
    tl.store(dup + row * stride + column, by_up.to(dup.dtype.element_ty), mask=inside)


def _halves(gate: torch.Tensor, up: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Gate and up, each as what the kernels step through by the rows' stride."""
    first, second = (gate, up) if up is not None else gate.chunk(2, 1)
    return first, second


def swiglu_forward(gate: torch.Tensor, up: torch.Tensor | None = None) -> torch.Tensor:
    """gate and up [rows, F], or both in one [rows, 2F]."""
    gate, up = gate.contiguous(), None if up is None else up.contiguous()
    first, second = _halves(gate, up)
    y = gate.new_empty(first.shape)
    if y.numel():
        rows, width = y.shape
        _forward[(rows, cdiv(width, BLOCK))](
            first, second, y, gate.shape[1], width, BLOCK=BLOCK, num_warps=4
        )
    return y


def swiglu_backward(
    dy: torch.Tensor, gate: torch.Tensor, up: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """[dgate, dup], or [the gradient of both]."""
    dy, gate, up = dy.contiguous(), gate.contiguous(), None if up is None else up.contiguous()
    gradients = [torch.empty_like(t) for t in (gate, up) if t is not None]
    if dy.numel():
        rows, width = dy.shape
        _backward[(rows, cdiv(width, BLOCK))](
            dy,
            *_halves(gate, up),
            *_halves(gradients[0], gradients[1] if up is not None else None),
            gate.shape[1],
            width,
            BLOCK=BLOCK,
            num_warps=4,
        )
    return gradients
