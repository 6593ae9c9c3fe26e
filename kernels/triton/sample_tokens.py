"""Draws one token a row, with its log-probabilities and the entropy, in a fixed number of passes.

Every truncation (top-k, top-p, min-p) is a threshold on the logit: equal logits are kept or dropped
together, the rule of `dftfast.kernels._sample_tokens`. The top-k and top-p thresholds are the
largest floats at which the count or the mass of the logits from there up reaches the target; they
are found to the last bit by fixing four bits of the (order-preserving) float pattern a pass, with
15 candidates compared at once, so nothing is sorted. Sums stay in the lanes until a pass is over: a
reduction across warps in every block would cost more than its loads. The draw inverts the
distribution function over the kept tokens in vocabulary order.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024


@triton.jit
def _float_of(key):
    """The float whose order-preserving pattern is `key`; patterns below -inf's count as -inf."""
    key = tl.maximum(key, 0x007FFFFF)
    bits = tl.where(key >= 0x80000000, key - 0x80000000, 0xFFFFFFFF - key)
    return bits.to(tl.uint32).to(tl.float32, bitcast=True)


@triton.jit
def _threshold(
    row, V, floor, maximum, inverse_temperature, target, MASS: tl.constexpr, BLOCK: tl.constexpr
):
    """Largest t at which the sum over logits >= max(t, floor) still reaches target.

    With MASS, summed is exp((x - maximum) / temperature), else 1.
    """
    candidate = tl.arange(0, 16).to(tl.int64)
    threshold = tl.zeros([1], tl.int64)
    for step in range(8):
        shift = 28 - 4 * step
        pivots = _float_of(threshold + (candidate << shift))
        sums = tl.zeros([16, BLOCK], tl.float32)
        for start in range(0, V, BLOCK):
            column = start + tl.arange(0, BLOCK)
            x = tl.load(row + column, mask=column < V, other=float("-inf")).to(tl.float32)
            weight = tl.where((column < V) & (x >= floor), 1.0, 0.0)
            if MASS:
                weight *= tl.exp((x - maximum) * inverse_temperature)
            sums += tl.where(x[None, :] >= pivots[:, None], weight[None, :], 0.0)
        best = tl.max(tl.where(tl.sum(sums, 1) >= target, candidate, 0), 0)
        threshold += best << shift
    return tl.max(_float_of(threshold), 0)


@triton.jit
def _mass(row, V, floor, maximum, inverse_temperature, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, V, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(row + column, mask=column < V, other=float("-inf")).to(tl.float32)
        e = tl.exp((x - maximum) * inverse_temperature)
        total += tl.where((column < V) & (x >= floor), e, 0.0)
    return tl.sum(total, 0)


@triton.jit
def _uniform(seed, position, request):
    """In (0, 1): the top 23 bits of the first word of Philox4x32-10.

    The key is seed, the counter (position, request).
    """
    low = 0xFFFFFFFF
    word, _, _, _ = tl.philox(
        seed,
        (position & low).to(tl.uint32),
        ((position >> 32) & low).to(tl.uint32),
        (request & low).to(tl.uint32),
        ((request >> 32) & low).to(tl.uint32),
    )
    return ((word >> 9).to(tl.float32) + 0.5) * (1.0 / 8388608.0)


@triton.jit
def _rescaled(m, z, s, base):
    """Sums of exp(x - m) and of exp(x - m) (x - m), relative to `base`.

    Both are 0 where m is -inf.
    """
    decay = tl.exp(m - base)
    return decay * z, decay * s + tl.where(m == float("-inf"), 0.0, decay * z * (m - base))


@triton.jit
def _figures(row, V, BLOCK: tl.constexpr):
    """The untempered model: maximum, its first position, sum and weighted sum of exp(x - m)."""
    # In each lane first.
    m = tl.full([BLOCK], float("-inf"), tl.float32)
    z = tl.zeros([BLOCK], tl.float32)
    s = tl.zeros([BLOCK], tl.float32)
    at = tl.zeros([BLOCK], tl.int32)
    for start in range(0, V, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(row + column, mask=column < V, other=float("-inf")).to(tl.float32)
        at = tl.where(x > m, column, at)
        new = tl.maximum(m, x)
        base = tl.where(new == float("-inf"), 0.0, new)
        z, s = _rescaled(m, z, s, base)
        e = tl.exp(x - base)
        z += e
        s += tl.where(x == float("-inf"), 0.0, e * (x - base))
        m = new
    lanes, m = m, tl.max(m, 0)
    token = tl.min(tl.where(lanes == m, at, V), 0)
    z, s = _rescaled(lanes, z, s, tl.where(m == float("-inf"), 0.0, m))
    z, s = tl.sum(z, 0), tl.sum(s, 0)
    return m, token, z, s


@triton.jit
def _drawn(row, V, floor, m, inverse, target, BLOCK: tl.constexpr):
    """The first kept token at which the running sum of exp((x - m) inverse) reaches target."""
    running = 0.0
    drawn = V
    # Rounding may leave the sum of the kept below the target: then it is the last of them.
    last = tl.zeros([BLOCK], tl.int32)
    for start in range(0, V, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(row + column, mask=column < V, other=float("-inf")).to(tl.float32)
        keep = (column < V) & (x >= floor) & (x > float("-inf"))
        e = tl.where(keep, tl.exp((x - m) * inverse), 0.0)
        last = tl.where(keep, column, last)
        total = tl.sum(e, 0)
        if (drawn == V) & (running + total >= target):
            drawn = tl.min(tl.where(keep & (running + tl.cumsum(e, 0) >= target), column, V), 0)
        running += total
    return tl.where(drawn < V, drawn, tl.max(last, 0))


@triton.jit
def _sample(
    logits,
    temperature,
    top_k,
    top_p,
    min_p,
    seed,
    request_id,
    position,
    token_out,
    logprob_out,
    sampler_logprob_out,
    entropy_out,
    V,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0)
    row = logits + index.to(tl.int64) * V

    m, token, z, s = _figures(row, V, BLOCK)
    log_z = tl.log(z)
    sampler_logprob = 0.0

    t = tl.load(temperature + index)
    # Below the normal numbers 1 / t may be infinite: greedy as well.
    if t >= 1.1754943508222875e-38:
        inverse = 1.0 / t
        floor = float("-inf")
        k = tl.load(top_k + index)
        if (k > 0) & (k < V):
            floor = _threshold(row, V, floor, m, inverse, k.to(tl.float32), False, BLOCK)
        p = tl.load(top_p + index)
        if p < 1.0:
            target = tl.maximum(p * _mass(row, V, floor, m, inverse, BLOCK), 1e-30)
            floor = tl.maximum(floor, _threshold(row, V, floor, m, inverse, target, True, BLOCK))
        least = tl.load(min_p + index)
        if least > 0.0:
            floor = tl.maximum(floor, m + t * tl.log(least))
        floor = tl.minimum(floor, m)
        kept = _mass(row, V, floor, m, inverse, BLOCK)
        u = _uniform(tl.load(seed + index), tl.load(position + index), tl.load(request_id + index))
        token = _drawn(row, V, floor, m, inverse, u * kept, BLOCK)
        sampler_logprob = (tl.load(row + token).to(tl.float32) - m) * inverse - tl.log(kept)

    defined = z >= 1.0  # neither NaN nor +inf in the row, and one logit above -inf
    token = tl.where(defined, token, 0)
    sampler_logprob = tl.where(defined, sampler_logprob, float("nan"))
    tl.store(token_out + index, token.to(tl.int64))
    tl.store(
        logprob_out + index,
        tl.where(defined, tl.load(row + token).to(tl.float32) - m - log_z, float("nan")),
    )
    tl.store(sampler_logprob_out + index, sampler_logprob)
    tl.store(entropy_out + index, log_z - s / z)


def sample_tokens_forward(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    min_p: torch.Tensor,
    seed: torch.Tensor,
    request_id: torch.Tensor,
    position: torch.Tensor,
):
    """(token, logprob, sampler_logprob, entropy), each [B]."""
    logits = logits.contiguous()
    B, V = logits.shape
    token = torch.empty(B, dtype=torch.int64, device=logits.device)
    logprob, sampler_logprob, entropy = (torch.empty(B, device=logits.device) for _ in range(3))
    if B:
        _sample[(B,)](
            logits,
            temperature,
            top_k,
            top_p,
            min_p,
            seed,
            request_id,
            position,
            token,
            logprob,
            sampler_logprob,
            entropy,
            V,
            BLOCK=BLOCK,
            num_warps=8,
        )
    return token, logprob, sampler_logprob, entropy
