"""The norm of every head and the rotary embedding, of queries or of keys [tokens, H, D].

As in `qk_norm_rope`, a tile is ROWS heads by the two halves of the head.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv, power_of_2, processors
from dftfast.kernels.triton.heads import (
    ROWS,
    inverse_rms,
    load_angles,
    load_halves,
    load_weight,
    norm_gradient,
    store_halves,
    store_weight,
    turned,
)


@triton.jit
def _forward(
    x,
    weight,
    cos,
    sin,
    y,
    rows,
    angles,
    eps,
    H: tl.constexpr,
    D: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    NORM: tl.constexpr,
    ROWS: tl.constexpr,
):
    HALF: tl.constexpr = D // 2
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    dim = tl.arange(0, HALF_BLOCK)
    mask = (row < rows)[:, None] & (dim < HALF)[None, :]
    x1, x2 = load_halves(x, row, dim, D, HALF, mask)
    if NORM:
        w1, w2 = load_weight(weight, dim, HALF)
        rstd = inverse_rms(x1, x2, eps, D)
        x1, x2 = x1 * rstd * w1[None, :], x2 * rstd * w2[None, :]
    c, s = load_angles(cos, sin, row // H % angles, dim, HALF, mask)
    x1, x2 = turned(x1, x2, c, s)
    store_halves(y, row, dim, x1, x2, D, HALF, mask)


@triton.jit
def _backward(
    dy,
    x,
    weight,
    cos,
    sin,
    dx,
    dweight,
    rows,
    angles,
    eps,
    H: tl.constexpr,
    D: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    NORM: tl.constexpr,
    ROWS: tl.constexpr,
    WEIGHT_GRAD: tl.constexpr,
):
    HALF: tl.constexpr = D // 2
    dim = tl.arange(0, HALF_BLOCK)
    dw1, dw2 = tl.zeros([HALF_BLOCK], tl.float32), tl.zeros([HALF_BLOCK], tl.float32)
    for start in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & (dim < HALF)[None, :]
        g1, g2 = load_halves(dy, row, dim, D, HALF, mask)
        c, s = load_angles(cos, sin, row // H % angles, dim, HALF, mask)
        g1, g2 = turned(g1, g2, c, -s)
        if NORM:
            x1, x2 = load_halves(x, row, dim, D, HALF, mask)
            w1, w2 = load_weight(weight, dim, HALF)
            rstd = inverse_rms(x1, x2, eps, D)
            n1, n2 = x1 * rstd, x2 * rstd
            if WEIGHT_GRAD:
                dw1 += tl.sum(g1 * n1, 0)
                dw2 += tl.sum(g2 * n2, 0)
            g1, g2 = g1 * w1[None, :], g2 * w2[None, :]
            g1, g2 = norm_gradient(g1, g2, n1, n2, rstd, D)
        store_halves(dx, row, dim, g1, g2, D, HALF, mask)
    if WEIGHT_GRAD:
        store_weight(dweight + tl.program_id(0) * D + dim, dw1, dw2, dim, HALF)


def _constants(shape: torch.Size, weight: torch.Tensor | None) -> dict:
    H, D = shape[-2:]
    half = power_of_2(D // 2)
    return dict(
        H=H, D=D, HALF_BLOCK=half, NORM=weight is not None, ROWS=ROWS, num_warps=4, maxnreg=255
    )


def rope_forward(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """x [..., H, D]; token t turns by row t mod N of cos and sin [N, D / 2]."""
    x, cos, sin = x.contiguous(), cos.contiguous(), sin.contiguous()
    y = torch.empty_like(x)
    rows = x.shape[:-1].numel()
    if rows:
        _forward[(cdiv(rows, ROWS),)](
            x, weight, cos, sin, y, rows, len(cos), eps, **_constants(x.shape, weight)
        )
    return y


def rope_backward(
    dy: torch.Tensor,
    x: torch.Tensor | None,
    weight: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    eps: float,
    weight_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(dx, dweight or None); x is read where there is a weight."""
    dy, cos, sin = dy.contiguous(), cos.contiguous(), sin.contiguous()
    x = None if x is None else x.contiguous()
    rows, D = dy.shape[:-1].numel(), dy.shape[-1]
    dx, parts = torch.empty_like(dy), None
    programs = min(cdiv(rows, ROWS), 4 * processors(dy.device))
    if weight is not None and weight_grad:
        parts = torch.empty(programs, D, dtype=torch.float32, device=dy.device)
    if rows:
        _backward[(programs,)](
            dy,
            x,
            weight,
            cos,
            sin,
            dx,
            parts,
            rows,
            len(cos),
            eps,
            WEIGHT_GRAD=parts is not None,
            **_constants(dy.shape, weight),
        )
    return dx, None if parts is None or weight is None else parts.sum(0).to(weight.dtype)
