"""Log-probability of the target and entropy of softmax(h Wᵀ / temperature), a chunk at a time.

cuBLAS multiplies the rows of a chunk with W into one buffer, which every chunk uses again; one
program a row then reads its logits once for the maximum, the sum of exponentials and the sum of
exponentials times logits (online softmax, Milakov and Gimelshein 2018), and, where a gradient is
asked for, a second time to write over them

    d logprob / d logit_v = [v = target] - p_v
    d entropy / d logit_v = -p_v (log p_v + entropy)

so that cuBLAS can multiply what is left in the buffer with W (and with h). A loss that is linear in
the log-probabilities takes two products with a frozen head, three with a trained one.
"""

# Triton gives kernels types at compile time that a checker cannot see.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import torch
import triton
import triton.language as tl

from dftfast.kernels.triton.chip import cdiv, power_of_2, tile

LOGITS_BYTES = 320 * 2**20  # the buffer: 1,104 tokens of 151,936 words in 16 bits
# Times as much where the weight gets a gradient, which is read and written once a chunk.
TRAINED = 4
TILE = dict(BLOCK=8192, num_warps=16)


@triton.jit
def _load(row, column, V, stride):
    """Logits of `column`, -inf beyond the vocabulary.

    The mask is the row's padded length, a multiple of 16: a load is a vector for every vocabulary.
    """
    x = tl.load(row + column, mask=column < stride, other=0.0).to(tl.float32)
    return tl.where(column < V, x, float("-inf"))


@triton.jit
def _rescaled(m, z, s, base):
    """Sums of exp(x - m) and exp(x - m) (x - m), made relative to `base`; both 0 for m = -inf."""
    decay = tl.exp(m - base)
    return decay * z, decay * s + tl.where(m == float("-inf"), 0.0, decay * z * (m - base))


@triton.jit
def _columns(BLOCK: tl.constexpr, LANE: tl.constexpr):
    """[BLOCK / LANE, LANE]: LANE logits, 16 bytes, belong to one thread."""
    return tl.arange(0, BLOCK // LANE)[:, None] * LANE + tl.arange(0, LANE)[None, :]


@triton.jit
def _figures(row, V, stride, inverse_temperature, BLOCK: tl.constexpr, LANE: tl.constexpr):
    """Maximum of a row's tempered logits, sums of exp(x - m) and of exp(x - m) (x - m).

    Each lane has its own three until the row is over: no thread waits for another.
    """
    m = tl.full([BLOCK // LANE], float("-inf"), tl.float32)
    z = tl.zeros([BLOCK // LANE], tl.float32)
    s = tl.zeros([BLOCK // LANE], tl.float32)
    for start in range(0, V, BLOCK):
        x = _load(row, start + _columns(BLOCK, LANE), V, stride) * inverse_temperature
        new = tl.maximum(m, tl.max(x, 1))
        base = tl.where(new == float("-inf"), 0.0, new)
        z, s = _rescaled(m, z, s, base)
        below = x - base[:, None]
        e = tl.exp(below)
        z += tl.sum(e, 1)
        s += tl.sum(tl.where(e > 0.0, e * below, 0.0), 1)
        m = new
    top = tl.max(m, 0)
    z, s = _rescaled(m, z, s, tl.where(top == float("-inf"), 0.0, top))
    return top, tl.sum(z, 0), tl.sum(s, 0)


@triton.jit
def _rows(
    logits,
    target,
    logprob,
    entropy,
    lse,
    grad_logprob,
    grad_entropy,
    V,
    stride,
    inverse_temperature,
    FIGURES: tl.constexpr,
    GRADIENT: tl.constexpr,
    ENTROPY: tl.constexpr,
    BLOCK: tl.constexpr,
    LANE: tl.constexpr,
):
    token = tl.program_id(0)
    row = logits + token.to(tl.int64) * stride
    wanted = tl.load(target + token)
    if FIGURES:
        inside = (wanted >= 0) & (wanted < V)
        own = tl.load(row + wanted, mask=inside, other=float("nan")).to(tl.float32)
        m, z, s = _figures(row, V, stride, inverse_temperature, BLOCK, LANE)
        log_z = tl.log(z)
        log_sum = m + log_z
        h = log_z - s / z
        tl.store(lse + token, log_sum)
        tl.store(logprob + token, own * inverse_temperature - m - log_z)
        tl.store(entropy + token, h)
    if GRADIENT:
        if not FIGURES:
            log_sum = tl.load(lse + token)
        g = tl.load(grad_logprob + token)
        if ENTROPY:
            h = tl.load(entropy + token)
            g_h = tl.load(grad_entropy + token)
        blocks = tl.cdiv(V, BLOCK)
        for i in range(blocks):
            # Backwards: what was read last is nearest in the cache.
            column = (blocks - 1 - i) * BLOCK + _columns(BLOCK, LANE)
            log_p = _load(row, column, V, stride) * inverse_temperature - log_sum
            p = tl.exp(log_p)
            grad = g * (tl.where(column == wanted, 1.0, 0.0) - p)
            if ENTROPY:
                grad -= g_h * tl.where(p > 0.0, p * (log_p + h), 0.0)
            grad = (grad * inverse_temperature).to(logits.dtype.element_ty)
            tl.store(row + column, grad, mask=column < stride)


def _pass(
    logits: torch.Tensor, target: torch.Tensor, temperature: float, figures, grads, known: bool
) -> None:
    """One pass over the rows of a chunk.

    figures: (logprob, entropy, lse) of its tokens, written unless `known`; grads: the gradients of
    logprob and of entropy (or None), for which the logits become their own gradient; None leaves
    the logits as they are.
    """
    rows, V = logits.shape
    itemsize = logits.element_size()
    config = tile("linear_logprob", f"{8 * itemsize} bits", logits.device, TILE)
    block = min(config["BLOCK"], max(power_of_2(V), 128))
    grad_logprob, grad_entropy = grads or (None, None)
    _rows[(rows,)](
        logits,
        target,
        *figures,
        grad_logprob,
        grad_entropy,
        V,
        logits.stride(0),
        1.0 / temperature,
        FIGURES=not known,
        GRADIENT=grads is not None,
        ENTROPY=grad_entropy is not None,
        BLOCK=block,
        LANE=16 // itemsize,
        num_warps=min(config["num_warps"], block // 128),
    )


def _chunks(h: torch.Tensor, weight: torch.Tensor, weight_grad: bool = False):
    """(tokens, their logits) of one chunk after the other.

    Rows of the buffer and chunks begin at multiples of 16, so that every load is aligned.
    """
    T, V = h.shape[0], weight.shape[0]
    if T == 0:
        return
    stride = 16 * cdiv(V, 16)
    room = LOGITS_BYTES * (TRAINED if weight_grad else 1)
    most = 16 * max(room // (16 * stride * h.element_size()), 1)
    step = 16 * cdiv(cdiv(T, cdiv(T, most)), 16)
    buffer = h.new_empty(min(step, T), stride)
    for first in range(0, T, step):
        tokens = slice(first, min(first + step, T))
        logits = buffer[: tokens.stop - first, :V]
        torch.mm(h[tokens], weight.t(), out=logits)
        yield tokens, logits


class _Gradients:
    """Gradients of h, and of weight if asked for, gathered from those of the logits."""

    def __init__(self, h: torch.Tensor, weight: torch.Tensor, weight_grad: bool):
        self.h, self.weight = h, weight
        self.of_h = torch.empty_like(h)
        new = torch.empty if len(h) else torch.zeros
        self.of_weight = (
            new(weight.shape, dtype=torch.float32, device=h.device) if weight_grad else None
        )

    def add(self, tokens: slice, dlogits: torch.Tensor) -> None:
        torch.mm(dlogits, self.weight, out=self.of_h[tokens])
        if self.of_weight is None:
            return
        factors, total = (dlogits.t(), self.h[tokens]), self.of_weight
        beta = 1 if tokens.start else 0  # the first chunk writes, the others add
        if self.h.is_cuda and self.h.dtype != torch.float32:
            # cuBLAS adds to float32 in place: no [V, d] in the lower dtype in between.
            torch.addmm(total, *factors, beta=beta, out_dtype=torch.float32, out=total)
        else:
            torch.addmm(total, *(f.float() for f in factors), beta=beta, out=total)

    def result(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.of_h, None if self.of_weight is None else self.of_weight.to(self.weight.dtype)


def linear_logprob_forward(
    h: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, temperature: float
):
    """(logprob, entropy, lse), each [T] fp32; lse is of the tempered logits.

    A target outside the vocabulary gives NaN.
    """
    h, weight, target = h.contiguous(), weight.contiguous(), target.contiguous()
    figures = tuple(h.new_empty(len(h), dtype=torch.float32) for _ in range(3))
    for tokens, logits in _chunks(h, weight):
        own = [figure[tokens] for figure in figures]
        _pass(logits, target[tokens], temperature, own, None, known=False)
    return figures


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
    grads = [None if g is None else g.contiguous() for g in (grad_logprob, grad_entropy)]
    gradients = _Gradients(h, weight, weight_grad)
    for tokens, logits in _chunks(h, weight, weight_grad):
        own = [None if g is None else g[tokens] for g in grads]
        figures = (None, entropy[tokens], lse[tokens])
        _pass(logits, target[tokens], temperature, figures, own, known=True)
        gradients.add(tokens, logits)
    return gradients.result()


def linear_cross_entropy_forward(
    h: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    token_weight: torch.Tensor,
    temperature: float,
    weight_grad: bool,
):
    """(loss, logprob, dh, dweight or None) for loss = -sum(token_weight * logprob).

    The gradient of the logits is known as soon as the logits are.
    """
    h, weight, target = h.contiguous(), weight.contiguous(), target.contiguous()
    figures = tuple(h.new_empty(len(h), dtype=torch.float32) for _ in range(3))
    grad_logprob, gradients = -token_weight.contiguous(), _Gradients(h, weight, weight_grad)
    for tokens, logits in _chunks(h, weight, weight_grad):
        own = [figure[tokens] for figure in figures]
        grads = (grad_logprob[tokens], None)
        _pass(logits, target[tokens], temperature, own, grads, known=False)
        gradients.add(tokens, logits)
    logprob = figures[0]
    return -(token_weight * logprob).sum(), logprob, *gradients.result()
