"""Draws one token a row, with its log-probabilities and the entropy, in two launches.

The first gives every share of BLOCK logits a program, so that a single row occupies the card: the
share's maximum and its sums of exponentials. The second has a program a row: it merges the shares,
draws the share and then the token in it, which inverts the distribution function over the kept
tokens in vocabulary order. Shares depend on the vocabulary alone, so a row's sums, and with them
its token, do not depend on the rows beside it.

Every truncation (top-k, top-p, min-p) is a threshold on the logit: equal logits are kept or dropped
together, the rule of `dftfast.kernels._sample_tokens`. The thresholds of top-k and top-p are the
largest floats at which the count or the mass of the logits from there up reaches the target; they
are found to the last bit that the logits' dtype has by fixing two bits of the (order-preserving)
float pattern a pass over the row, so nothing is sorted.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv, power_of_2, tile

TILE = dict(BLOCK=8192, num_warps=16)
# Bits of the float32 pattern that every number of the dtype leaves 0, in pairs.
UNUSED_BITS = {torch.float32: 0, torch.bfloat16: 16, torch.float16: 12}


@triton.jit
def _load(row, start, V, BLOCK: tl.constexpr):
    column = start + tl.arange(0, BLOCK)
    return column, tl.load(row + column, mask=column < V, other=float("-inf")).to(tl.float32)


@triton.jit
def _below(x, top):
    """x - top, at least -FLT_MAX: 0 times it is 0, and its exponential is 0 for x = -inf."""
    top = tl.where(top == float("-inf"), 0.0, top)
    return tl.maximum(x - top, -3.4028234663852886e38, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _weight(x, top, floor, rate):
    """exp((x - top) rate) of the kept, x >= floor; a banned token, x = -inf, weighs nothing."""
    kept = (x >= floor) & (x > float("-inf"))
    return tl.where(kept, tl.exp(_below(x, top) * rate), 0.0)


@triton.jit
def _rate(t):
    """1 / temperature; 1 for a greedy row: below the normal numbers 1 / t may be infinite."""
    greedy = t < 1.1754943508222875e-38
    return tl.where(greedy, 1.0, 1.0 / tl.where(greedy, 1.0, t)), greedy


@triton.jit(do_not_specialize=["B"])
def _shares(logits, temperature, parts, B, V, BLOCK: tl.constexpr):
    """parts [4, B, shares]: maximum m, sums of e = exp(x - m), of e (x - m), of tempered e."""
    share, index = tl.program_id(0), tl.program_id(1)
    _, x = _load(logits + index.to(tl.int64) * V, share * BLOCK, V, BLOCK)
    m = tl.max(x, 0)
    below = _below(x, m)
    e = tl.exp(below)
    rate, _ = _rate(tl.load(temperature + index))
    at = parts + index * tl.num_programs(0) + share
    plane = B * tl.num_programs(0)
    tl.store(at, m)
    tl.store(at + plane, tl.sum(e, 0))
    tl.store(at + 2 * plane, tl.sum(e * below, 0))
    tl.store(at + 3 * plane, tl.sum(_weight(x, m, float("-inf"), rate), 0))


@triton.jit
def _float_of(key):
    """The float whose order-preserving pattern is `key`; patterns below -inf's count as -inf."""
    key = tl.maximum(key, 0x007FFFFF)
    bits = tl.where(key >= 0x80000000, key - 0x80000000, 0xFFFFFFFF - key)
    return bits.to(tl.uint32).to(tl.float32, bitcast=True)


@triton.jit
def _threshold(row, V, top, floor, rate, target, UNUSED: tl.constexpr, BLOCK: tl.constexpr):
    """Largest t at which the weights of the logits >= max(t, floor) still reach target.

    A rate of 0 counts them.
    """
    key = tl.zeros([1], tl.int64)
    for step in range((32 - UNUSED) // 2):
        bit = tl.full([1], 1, tl.int64) << (30 - 2 * step)
        first = tl.max(_float_of(key + bit), 0)
        second = tl.max(_float_of(key + 2 * bit), 0)
        third = tl.max(_float_of(key + 3 * bit), 0)
        from_first = tl.zeros([BLOCK], tl.float32)
        from_second = tl.zeros([BLOCK], tl.float32)
        from_third = tl.zeros([BLOCK], tl.float32)
        # Sums stay in the lanes until a pass is over.
        for start in range(0, V, BLOCK):
            _, x = _load(row, start, V, BLOCK)
            weight = _weight(x, top, floor, rate)
            from_first += tl.where(x >= first, weight, 0.0)
            from_second += tl.where(x >= second, weight, 0.0)
            from_third += tl.where(x >= third, weight, 0.0)
        reached = (tl.sum(from_first, 0) >= target).to(tl.int64)
        reached += (tl.sum(from_second, 0) >= target).to(tl.int64)
        reached += (tl.sum(from_third, 0) >= target).to(tl.int64)
        key += reached * bit
    return tl.max(_float_of(key), 0)


@triton.jit
def _masses(row, V, top, floor, rate, SHARES: tl.constexpr, BLOCK: tl.constexpr):
    """[SHARES]: the weight that each share keeps."""
    share = tl.arange(0, SHARES)
    masses = tl.zeros([SHARES], tl.float32)
    for i in range(tl.cdiv(V, BLOCK)):
        _, x = _load(row, i * BLOCK, V, BLOCK)
        masses = tl.where(share == i, tl.sum(_weight(x, top, floor, rate), 0), masses)
    return masses


@triton.jit
def _reach(weight, place, target, NOWHERE):
    """The first place at which the running sum reaches target, and the sum before it.

    Where rounding leaves the whole sum below target: the last place with a weight.
    """
    running = tl.cumsum(weight, 0)
    found = tl.min(tl.where((weight > 0.0) & (running >= target), place, NOWHERE), 0)
    last = tl.max(tl.where(weight > 0.0, place, 0), 0)
    found = tl.where(found < NOWHERE, found, last)
    return found, tl.sum(tl.where(place < found, weight, 0.0), 0)


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
def _model(own_z, own_s, below):
    """z, log z and the entropy of a row, from its shares' sums."""
    decay = tl.exp(below)
    z = tl.sum(decay * own_z, 0)
    s = tl.sum(decay * (own_s + tl.where(own_z > 0.0, below, 0.0) * own_z), 0)
    log_z = tl.log(z)
    return z, log_z, log_z - s / z


@triton.jit
def _cut(
    row,
    V,
    m,
    t,
    rate,
    masses,
    k,
    p,
    least,
    UNUSED: tl.constexpr,
    SHARES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The smallest logit that is kept, and each share's weight of those kept."""
    floor = float("-inf")
    if (k > 0) & (k < V):
        floor = _threshold(row, V, m, floor, 0.0, k.to(tl.float32), UNUSED, BLOCK)
        masses = _masses(row, V, m, floor, rate, SHARES, BLOCK)
    if p < 1.0:
        target = tl.maximum(p * tl.sum(masses, 0), 1e-30)
        by_mass = _threshold(row, V, m, floor, rate, target, UNUSED, BLOCK)
        floor = tl.maximum(floor, by_mass)
    if least > 0.0:
        floor = tl.maximum(floor, m + t * tl.log(least))
    floor = tl.minimum(floor, m)
    if floor > float("-inf"):
        masses = _masses(row, V, m, floor, rate, SHARES, BLOCK)
    return floor, masses


@triton.jit(do_not_specialize=["B"])
def _draw(
    logits,
    parts,
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
    B,
    V,
    UNUSED: tl.constexpr,
    SHARES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0)
    row, shares, share = logits + index.to(tl.int64) * V, tl.cdiv(V, BLOCK), tl.arange(0, SHARES)
    at, inside, plane = parts + index * shares + share, share < shares, B * shares
    tops = tl.load(at, mask=inside, other=float("-inf"))
    own_z = tl.load(at + plane, mask=inside, other=0.0)
    own_s = tl.load(at + 2 * plane, mask=inside, other=0.0)
    masses = tl.load(at + 3 * plane, mask=inside, other=0.0)
    m = tl.max(tops, 0)
    below = _below(tops, m)
    z, log_z, entropy = _model(own_z, own_s, below)

    t = tl.load(temperature + index)
    rate, greedy = _rate(t)
    k, p, least = tl.load(top_k + index), tl.load(top_p + index), tl.load(min_p + index)
    if greedy:  # the first of the likeliest
        floor, u = m, 0.0
        masses = tl.where(tops == m, 1.0, 0.0)
    else:
        u = _uniform(tl.load(seed + index), tl.load(position + index), tl.load(request_id + index))
        masses *= tl.exp(below * rate)
        floor, masses = _cut(row, V, m, t, rate, masses, k, p, least, UNUSED, SHARES, BLOCK)
    kept = tl.sum(masses, 0)
    chosen, before = _reach(masses, share, u * kept, SHARES)
    column, x = _load(row, chosen * BLOCK, V, BLOCK)
    token, _ = _reach(_weight(x, m, floor, rate), column, u * kept - before, V)

    defined = z >= 1.0  # neither NaN nor +inf in the row, and one logit above -inf
    token = tl.where(defined, token, 0)
    x = tl.load(row + token).to(tl.float32)
    sampler_logprob = tl.where(greedy, 0.0, _below(x, m) * rate - tl.log(kept))
    tl.store(token_out + index, token.to(tl.int64))
    tl.store(logprob_out + index, tl.where(defined, x - m - log_z, float("nan")))
    tl.store(sampler_logprob_out + index, tl.where(defined, sampler_logprob, float("nan")))
    tl.store(entropy_out + index, entropy)


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
    figures = tuple(torch.empty(B, device=logits.device) for _ in range(3))
    if not B:
        return token, *figures
    shapes = f"{8 * logits.element_size()} bits"
    config = tile("sample_tokens", shapes, logits.device, TILE)
    block = min(config["BLOCK"], max(power_of_2(V), 128))
    shares = cdiv(V, block)
    parts = torch.empty(4, B, shares, device=logits.device)
    _shares[(shares, B)](
        logits, temperature, parts, B, V, BLOCK=block, num_warps=config["num_warps"]
    )
    settings = (temperature, top_k, top_p, min_p, seed, request_id, position)
    _draw[(B,)](
        logits,
        parts,
        *settings,
        token,
        *figures,
        B,
        V,
        UNUSED=UNUSED_BITS[logits.dtype],
        SHARES=power_of_2(shares),
        BLOCK=block,
        num_warps=config["num_warps"],
    )
    return token, *figures
