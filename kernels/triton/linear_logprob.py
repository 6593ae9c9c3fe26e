"""Log-probability of the target and entropy of softmax(h Wᵀ / temperature) without the logits.

Forward: a program owns BLOCK_T tokens and a share of the vocabulary, and folds each tile of logits
into a running maximum, sum of exponentials and sum of exponentials times logits (online softmax,
Milakov and Gimelshein 2018); the shares are merged afterwards. Backward: the gradient of the logits
is written for a few hundred tokens at a time, in the dtype of h, by a kernel that computes the tile
again, and cuBLAS multiplies it with W (and with h).

    d logprob / d logit_v = [v = target] - p_v            d entropy / d logit_v = -p_v (log p_v +
    entropy)
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import capability, cdiv, processors

SCRATCH = 1 << 25  # entries of the logits' gradient at a time: 64 MiB in bf16


def tile(d: int, dtype: torch.dtype, device: torch.device) -> dict:
    """Block shape of the logits' product.

    Not tuned on a card: chosen for no spills and for shared memory.
    """
    if dtype == torch.float32:
        return dict(BLOCK_T=32, BLOCK_V=64, BLOCK_D=16, num_warps=4, num_stages=2)
    if d % 8:  # rows are not 16-byte aligned: masks and addresses take the registers
        return dict(BLOCK_T=64, BLOCK_V=128, BLOCK_D=32, num_warps=8, num_stages=3)
    if capability(device) >= 90:
        return dict(BLOCK_T=128, BLOCK_V=128, BLOCK_D=64, num_warps=8, num_stages=3)
    return dict(BLOCK_T=128, BLOCK_V=128, BLOCK_D=32, num_warps=8, num_stages=4)


@triton.jit
def _logits(
    h,
    weight,
    tokens,
    words,
    T,
    V,
    d,
    inverse_temperature,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    dim = tl.arange(0, BLOCK_D)
    h_at = h + tokens.to(tl.int64)[:, None] * d + dim[None, :]
    w_at = weight + words.to(tl.int64)[None, :] * d + dim[:, None]
    acc = tl.zeros([BLOCK_T, BLOCK_V], tl.float32)
    for start in range(0, d, BLOCK_D):
        dim_ok = start + dim < d
        a = tl.load(h_at + start, mask=(tokens < T)[:, None] & dim_ok[None, :], other=0.0)
        b = tl.load(w_at + start, mask=dim_ok[:, None] & (words < V)[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision="tf32x3")
    return acc * inverse_temperature


@triton.jit
def _forward(
    h,
    weight,
    target,
    target_logit,
    maximum,
    total,
    weighted,
    T,
    V,
    d,
    share,
    inverse_temperature,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    tokens = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    inside = tokens < T
    wanted = tl.load(target + tokens, mask=inside, other=-1)
    m = tl.full([BLOCK_T], float("-inf"), tl.float32)
    z = tl.zeros([BLOCK_T], tl.float32)  # sum of exp(logit - m)
    s = tl.zeros([BLOCK_T], tl.float32)  # sum of exp(logit - m) (logit - m)
    begin = tl.program_id(1) * share
    for start in range(begin, min(begin + share, V), BLOCK_V):
        words = start + tl.arange(0, BLOCK_V)
        logits = _logits(
            h, weight, tokens, words, T, V, d, inverse_temperature, BLOCK_T, BLOCK_V, BLOCK_D
        )
        logits = tl.where((words < V)[None, :], logits, float("-inf"))
        hit = words[None, :] == wanted[:, None]
        own_logit = tl.sum(tl.where(hit, logits, 0.0), 1)
        here = inside & (wanted >= start) & (wanted < min(start + BLOCK_V, V))
        tl.store(target_logit + tokens, own_logit, mask=here)
        new = tl.maximum(m, tl.max(logits, 1))
        decay = tl.exp(m - new)
        shifted = logits - new[:, None]
        e = tl.exp(shifted)
        s = decay * s + tl.where(m == float("-inf"), 0.0, decay * z * (m - new))
        s += tl.sum(tl.where((words < V)[None, :], e * shifted, 0.0), 1)
        z = decay * z + tl.sum(e, 1)
        m = new
    at = tl.program_id(1).to(tl.int64) * T + tokens
    tl.store(maximum + at, m, mask=inside)
    tl.store(total + at, z, mask=inside)
    tl.store(weighted + at, s, mask=inside)


@triton.jit
def _gradient(
    h,
    weight,
    target,
    lse,
    entropy,
    grad_logprob,
    grad_entropy,
    dlogits,
    first,
    T,
    V,
    d,
    inverse_temperature,
    ENTROPY: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    tokens = first + tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    words = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    inside = tokens < T
    logits = _logits(
        h, weight, tokens, words, T, V, d, inverse_temperature, BLOCK_T, BLOCK_V, BLOCK_D
    )
    wanted = tl.load(target + tokens, mask=inside, other=-1)
    log_p = logits - tl.load(lse + tokens, mask=inside, other=0.0)[:, None]
    p = tl.exp(log_p)
    hit = tl.where(words[None, :] == wanted[:, None], 1.0, 0.0)
    g = tl.load(grad_logprob + tokens, mask=inside, other=0.0)[:, None] * (hit - p)
    if ENTROPY:
        h_t = tl.load(entropy + tokens, mask=inside, other=0.0)[:, None]
        g_h = tl.load(grad_entropy + tokens, mask=inside, other=0.0)[:, None]
        g -= g_h * p * (log_p + h_t)
    at = (tokens - first).to(tl.int64)[:, None] * V + words[None, :]
    tl.store(
        dlogits + at,
        (g * inverse_temperature).to(dlogits.dtype.element_ty),
        mask=inside[:, None] & (words < V)[None, :],
    )


def linear_logprob_forward(
    h: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, temperature: float
):
    """(logprob, entropy, lse), each [T] fp32; lse is of the tempered logits.

    A target outside the vocabulary gives NaN.
    """
    h, weight, target = h.contiguous(), weight.contiguous(), target.contiguous()
    (T, d), V = h.shape, weight.shape[0]
    config = tile(d, h.dtype, h.device)
    target_logit = torch.full((T,), float("nan"), dtype=torch.float32, device=h.device)
    if T == 0:
        return target_logit, target_logit.clone(), target_logit.clone()
    row_tiles, word_tiles = cdiv(T, config["BLOCK_T"]), cdiv(V, config["BLOCK_V"])
    share = (
        cdiv(word_tiles, min(word_tiles, cdiv(2 * processors(h.device), row_tiles)))
        * config["BLOCK_V"]
    )
    splits = cdiv(V, share)
    maximum, total, weighted = torch.empty(3, splits, T, dtype=torch.float32, device=h.device)
    # The tokens' tiles vary fastest: programs that run together share a range of the vocabulary,
    # read once from memory.
    _forward[(row_tiles, splits)](
        h,
        weight,
        target,
        target_logit,
        maximum,
        total,
        weighted,
        T,
        V,
        d,
        share,
        1.0 / temperature,
        **config,
    )
    m = maximum.amax(0)
    decay = torch.exp(maximum - m)
    z = (decay * total).sum(0)
    s = (decay * (weighted + (maximum - m) * total)).sum(0)
    lse = m + z.log()
    return target_logit - lse, z.log() - s / z, lse


def linear_logprob_backward(
    grad_logprob: torch.Tensor,
    grad_entropy: torch.Tensor | None,
    h: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    lse: torch.Tensor,
    entropy: torch.Tensor,
    temperature: float,
    weight_grad: bool,
):
    """(dh, dweight or None); grad_entropy None means zero."""
    h, weight, target = h.contiguous(), weight.contiguous(), target.contiguous()
    grad_logprob = grad_logprob.contiguous()
    grad_entropy = None if grad_entropy is None else grad_entropy.contiguous()
    (T, d), V = h.shape, weight.shape[0]
    config = tile(d, h.dtype, h.device)
    dh = torch.empty_like(h)
    dweight = torch.zeros(V, d, dtype=torch.float32, device=h.device) if weight_grad else None
    step = max(SCRATCH // V // config["BLOCK_T"], 2) * config["BLOCK_T"]
    dlogits = h.new_empty(min(step, T), V)
    for first in range(0, T, step):
        last = min(first + step, T)
        _gradient[(cdiv(last - first, config["BLOCK_T"]), cdiv(V, config["BLOCK_V"]))](
            h,
            weight,
            target,
            lse,
            entropy,
            grad_logprob,
            grad_entropy,
            dlogits,
            first,
            last,
            V,
            d,
            1.0 / temperature,
            ENTROPY=grad_entropy is not None,
            **config,
        )
        g = dlogits[: last - first]
        torch.mm(g, weight, out=dh[first:last])
        if dweight is not None:
            dweight += g.t() @ h[first:last]
    return dh, None if dweight is None else dweight.to(weight.dtype)


def linear_cross_entropy_forward(
    h: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    token_weight: torch.Tensor,
    temperature: float,
    weight_grad: bool,
):
    """(loss, logprob, dh, dweight or None) for loss = -sum(token_weight * logprob).

    The gradient of the logits is known beforehand.
    """
    logprob, entropy, lse = linear_logprob_forward(h, weight, target, temperature)
    dh, dweight = linear_logprob_backward(
        -token_weight, None, h, weight, target, lse, entropy, temperature, weight_grad
    )
    return -(token_weight * logprob).sum(), logprob, dh, dweight
