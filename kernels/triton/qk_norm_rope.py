"""RMSNorm of every q and k head and the rotary embedding, in one pass.

A tile is ROWS heads (of any tokens) by the two halves of the head, which the rotation pairs up. v
heads are copied.
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
def _head_weights(
    q_weight,
    k_weight,
    dim,
    is_q,
    is_k,
    Q_NORM: tl.constexpr,
    K_NORM: tl.constexpr,
    HALF: tl.constexpr,
):
    """Weight of each row's head, 1 where there is none, and whether the row is normalised."""
    ones = tl.full([1, 1], 1.0, tl.float32)
    w1, w2, normed = ones, ones, is_q & False
    if Q_NORM:
        first, second = load_weight(q_weight, dim, HALF)
        w1, w2 = tl.where(is_q, first[None, :], w1), tl.where(is_q, second[None, :], w2)
        normed = normed | is_q
    if K_NORM:
        first, second = load_weight(k_weight, dim, HALF)
        w1, w2 = tl.where(is_k, first[None, :], w1), tl.where(is_k, second[None, :], w2)
        normed = normed | is_k
    return w1, w2, normed


@triton.jit
def _forward(
    qkv,
    q_weight,
    k_weight,
    cos,
    sin,
    q,
    k,
    v,
    rows,
    eps,
    H: tl.constexpr,
    HK: tl.constexpr,
    D: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    Q_NORM: tl.constexpr,
    K_NORM: tl.constexpr,
    ROWS: tl.constexpr,
):
    HALF: tl.constexpr = D // 2
    HEADS: tl.constexpr = H + 2 * HK
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    dim = tl.arange(0, HALF_BLOCK)
    mask = (row < rows)[:, None] & (dim < HALF)[None, :]
    token, head = row // HEADS, row % HEADS
    is_q, is_k = (head < H)[:, None], ((head >= H) & (head < H + HK))[:, None]
    is_v = (head >= H + HK)[:, None]

    x1, x2 = load_halves(qkv, row, dim, D, HALF, mask)
    w1, w2, normed = _head_weights(q_weight, k_weight, dim, is_q, is_k, Q_NORM, K_NORM, HALF)
    rstd = tl.where(normed, inverse_rms(x1, x2, eps, D), 1.0)
    y1, y2 = x1 * rstd * w1, x2 * rstd * w2

    c, s = load_angles(cos, sin, token, dim, HALF, mask & (is_q | is_k))
    z1, z2 = turned(y1, y2, c, s)

    store_halves(q, token * H + head, dim, z1, z2, D, HALF, mask & is_q)
    store_halves(k, token * HK + head - H, dim, z1, z2, D, HALF, mask & is_k)
    store_halves(v, token * HK + head - H - HK, dim, x1, x2, D, HALF, mask & is_v)


@triton.jit
def _load_upstream(
    dq, dk, dv, token, head, dim, H: tl.constexpr, HK: tl.constexpr, D: tl.constexpr, mask
):
    """The halves of the gradient of each row's output, be it a query, a key or a value."""
    HALF: tl.constexpr = D // 2
    is_q, is_k = (head < H)[:, None], ((head >= H) & (head < H + HK))[:, None]
    is_v = (head >= H + HK)[:, None]
    q1, q2 = load_halves(dq, token * H + head, dim, D, HALF, mask & is_q)
    k1, k2 = load_halves(dk, token * HK + head - H, dim, D, HALF, mask & is_k)
    v1, v2 = load_halves(dv, token * HK + head - H - HK, dim, D, HALF, mask & is_v)
    return q1 + k1 + v1, q2 + k2 + v2


@triton.jit
def _backward(
    dq,
    dk,
    dv,
    qkv,
    q_weight,
    k_weight,
    cos,
    sin,
    dqkv,
    dweights,
    rows,
    eps,
    H: tl.constexpr,
    HK: tl.constexpr,
    D: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    Q_NORM: tl.constexpr,
    K_NORM: tl.constexpr,
    ROWS: tl.constexpr,
    WEIGHT_GRAD: tl.constexpr,
):
    HALF: tl.constexpr = D // 2
    HEADS: tl.constexpr = H + 2 * HK
    dim = tl.arange(0, HALF_BLOCK)
    dqw1, dqw2 = tl.zeros([HALF_BLOCK], tl.float32), tl.zeros([HALF_BLOCK], tl.float32)
    dkw1, dkw2 = tl.zeros([HALF_BLOCK], tl.float32), tl.zeros([HALF_BLOCK], tl.float32)
    for start in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & (dim < HALF)[None, :]
        token, head = row // HEADS, row % HEADS
        is_q, is_k = (head < H)[:, None], ((head >= H) & (head < H + HK))[:, None]

        g1, g2 = _load_upstream(dq, dk, dv, token, head, dim, H, HK, D, mask)
        c, s = load_angles(cos, sin, token, dim, HALF, mask & (is_q | is_k))
        g1, g2 = turned(g1, g2, c, -s)

        x1, x2 = load_halves(qkv, row, dim, D, HALF, mask)
        w1, w2, normed = _head_weights(q_weight, k_weight, dim, is_q, is_k, Q_NORM, K_NORM, HALF)
        rstd = inverse_rms(x1, x2, eps, D)
        n1, n2 = x1 * rstd, x2 * rstd
        if Q_NORM and WEIGHT_GRAD:
            dqw1 += tl.sum(tl.where(is_q, g1 * n1, 0.0), 0)
            dqw2 += tl.sum(tl.where(is_q, g2 * n2, 0.0), 0)
        if K_NORM and WEIGHT_GRAD:
            dkw1 += tl.sum(tl.where(is_k, g1 * n1, 0.0), 0)
            dkw2 += tl.sum(tl.where(is_k, g2 * n2, 0.0), 0)
        g1, g2 = g1 * w1, g2 * w2
        x1, x2 = norm_gradient(g1, g2, n1, n2, rstd, D)
        g1, g2 = tl.where(normed, x1, g1), tl.where(normed, x2, g2)
        store_halves(dqkv, row, dim, g1, g2, D, HALF, mask)

    if WEIGHT_GRAD:
        at = dweights + tl.program_id(0) * 2 * D + dim
        if Q_NORM:
            store_weight(at, dqw1, dqw2, dim, HALF)
        if K_NORM:
            store_weight(at + D, dkw1, dkw2, dim, HALF)


def _constants(D, H, Hk, q_weight, k_weight):
    # maxnreg: without it ptxas spills a register to fit more warps.
    return dict(
        H=H,
        HK=Hk,
        D=D,
        HALF_BLOCK=power_of_2(D // 2),
        Q_NORM=q_weight is not None,
        K_NORM=k_weight is not None,
        ROWS=ROWS,
        num_warps=4,
        maxnreg=255,
    )


def qk_norm_rope_forward(
    qkv: torch.Tensor,
    q_weight: torch.Tensor | None,
    k_weight: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    H: int,
    Hk: int,
    eps: float,
):
    """(q [T,H,D], k [T,Hk,D], v [T,Hk,D])."""
    qkv, cos, sin = qkv.contiguous(), cos.contiguous(), sin.contiguous()
    tokens, heads = qkv.shape[0], H + 2 * Hk
    D = qkv.shape[1] // heads
    q, k, v = (qkv.new_empty(tokens, n, D) for n in (H, Hk, Hk))
    rows = tokens * heads
    if rows:
        _forward[(cdiv(rows, ROWS),)](
            qkv,
            q_weight,
            k_weight,
            cos,
            sin,
            q,
            k,
            v,
            rows,
            eps,
            **_constants(D, H, Hk, q_weight, k_weight),
        )
    return q, k, v


def qk_norm_rope_backward(
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    qkv: torch.Tensor,
    q_weight: torch.Tensor | None,
    k_weight: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    H: int,
    Hk: int,
    eps: float,
    weight_grad: bool = True,
):
    """(dqkv, dq_weight or None, dk_weight or None)."""
    dq, dk, dv, qkv = (t.contiguous() for t in (dq, dk, dv, qkv))
    cos, sin = cos.contiguous(), sin.contiguous()
    tokens, heads = qkv.shape[0], H + 2 * Hk
    D = qkv.shape[1] // heads
    rows = tokens * heads
    dqkv = torch.empty_like(qkv)
    programs = min(cdiv(rows, ROWS), 4 * processors(qkv.device))
    dweights = (
        torch.empty(programs, 2, D, dtype=torch.float32, device=qkv.device) if weight_grad else None
    )
    if rows:
        _backward[(programs,)](
            dq,
            dk,
            dv,
            qkv,
            q_weight,
            k_weight,
            cos,
            sin,
            dqkv,
            dweights,
            rows,
            eps,
            WEIGHT_GRAD=weight_grad,
            **_constants(D, H, Hk, q_weight, k_weight),
        )
    dq_weight = (
        None if q_weight is None or dweights is None else dweights[:, 0].sum(0).to(q_weight.dtype)
    )
    dk_weight = (
        None if k_weight is None or dweights is None else dweights[:, 1].sum(0).to(k_weight.dtype)
    )
    return dqkv, dq_weight, dk_weight
