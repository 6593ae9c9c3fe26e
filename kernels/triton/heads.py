"""Rows of heads as tiles: ROWS heads by the two halves of a head, which the rotation pairs up."""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import triton
import triton.language as tl

ROWS = 8


@triton.jit
def load_halves(base, row, dim, D: tl.constexpr, HALF: tl.constexpr, mask):
    at = row.to(tl.int64)[:, None] * D + dim[None, :]
    first = tl.load(base + at, mask=mask, other=0.0).to(tl.float32)
    return first, tl.load(base + at + HALF, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_halves(base, row, dim, first, second, D: tl.constexpr, HALF: tl.constexpr, mask):
    at = row.to(tl.int64)[:, None] * D + dim[None, :]
    tl.store(base + at, first.to(base.dtype.element_ty), mask=mask)
    tl.store(base + at + HALF, second.to(base.dtype.element_ty), mask=mask)


@triton.jit
def load_weight(weight, dim, HALF: tl.constexpr):
    first = tl.load(weight + dim, mask=dim < HALF, other=0.0).to(tl.float32)
    return first, tl.load(weight + HALF + dim, mask=dim < HALF, other=0.0).to(tl.float32)


@triton.jit
def inverse_rms(x1, x2, eps, D: tl.constexpr):
    return tl.rsqrt(tl.sum(x1 * x1 + x2 * x2, 1) / D + eps)[:, None]


@triton.jit
def norm_gradient(g1, g2, n1, n2, rstd, D: tl.constexpr):
    """That of x, from g, the gradient times the weight, and n = x / rms(x)."""
    mean = (tl.sum(g1 * n1 + g2 * n2, 1) / D)[:, None]
    return rstd * (g1 - n1 * mean), rstd * (g2 - n2 * mean)


@triton.jit
def turned(x1, x2, c, s):
    """The halves by the angle; with -s by minus the angle."""
    return x1 * c - x2 * s, x2 * c + x1 * s


@triton.jit
def load_angles(cos, sin, token, dim, HALF: tl.constexpr, turned):
    """Cosines and sines of the tokens' angles; 1 and 0 where nothing is turned."""
    angle = token.to(tl.int64)[:, None] * HALF + dim[None, :]
    c = tl.load(cos + angle, mask=turned, other=1.0)
    s = tl.load(sin + angle, mask=turned, other=0.0)
    return c, s


@triton.jit
def store_weight(at, first, second, dim, HALF: tl.constexpr):
    tl.store(at, first, mask=dim < HALF)
    tl.store(at + HALF, second, mask=dim < HALF)
