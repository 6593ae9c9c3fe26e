"""Cases of the kernels over a vocabulary and over texts.

Each yields (name, ours, {peer: call}, bytes that must move, floating-point operations).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from gpu_inputs import VOCABULARY, over_layers, randn

from dftfast.kernels import linear_cross_entropy
from dftfast.kernels.triton import linear_logprob, ngram, rbf_witness, sample_tokens

try:
    from liger_kernel.ops.fused_linear_cross_entropy import (
        LigerFusedLinearCrossEntropyFunction as Liger,
    )
except ImportError:  # a peer where it is installed
    Liger = None


@over_layers
def linear_logprob_cases(model, sizes):
    T, d = 4096, sizes[0]
    h, weight = randn(T, d), randn(VOCABULARY, d) / d**0.5
    target = torch.randint(0, VOCABULARY, (T,), device="cuda")
    product = 2 * T * VOCABULARY * d

    def plain():
        rows = []  # in pieces, the whole would not fit beside a model
        for part, wanted in zip(h.split(512), target.split(512)):
            rows.append(-F.cross_entropy((part @ weight.t()).float(), wanted, reduction="none"))
        return torch.cat(rows)

    logprob = lambda: linear_logprob.linear_logprob_forward(h, weight, target, 1.0)
    peers = {"torch, 512 rows at a time": plain, "the bare product": lambda: h @ weight.t()}
    yield f"linear_logprob {model} T={T}", logprob, peers, weight.nbytes + h.nbytes, product
    for trained in (False, True):
        yield _loss(f"{model} T={T}", h, weight, target, trained)


def _loss(name, h, weight, target, trained):
    """The loss and its gradients, through autograd on every side."""
    h, weight = h.detach().requires_grad_(), weight.detach().requires_grad_(trained)
    leaves = (h, weight) if trained else (h,)
    T, products = len(h), 3 if trained else 2
    share = torch.full((T,), 1 / T, device="cuda")

    def plain():
        for part, wanted in zip(h.split(512), target.split(512)):
            logits = (part @ weight.t()).float()
            (F.cross_entropy(logits, wanted, reduction="sum") / T).backward()
        for leaf in leaves:
            leaf.grad = None

    def ours():
        return torch.autograd.grad(linear_cross_entropy(h, weight, target, share)[0], leaves)

    peers = {"torch, 512 rows at a time": plain}
    if Liger is not None:
        # all but the target at their defaults; a trained weight's gradient summed in float32
        options = (None, None, -100, 0.0, 0.0, "mean", None, False)
        dtype = torch.float32 if trained else None
        peers["Liger"] = lambda: torch.autograd.grad(
            Liger.apply(h, weight, target, *options, dtype)[0], leaves
        )
    head = "trained" if trained else "frozen"
    return (
        f"linear_cross_entropy with gradients, {head} head, {name}",
        ours,
        peers,
        products * weight.nbytes,
        products * 2 * T * weight.numel(),
    )


def rbf_witness_cases():
    yield _rbf_witness(2000, 384)
    yield _rbf_witness(16000, 1024)


def _rbf_witness(n, d):
    x, y = randn(n, d, dtype=torch.float32), randn(n, d, dtype=torch.float32)
    h = torch.tensor([0.5, 1.0, 2.0], device="cuda") * d**0.5
    kernel = lambda s: torch.exp(-(torch.cdist(x, y) ** 2) / (2 * s * s))
    return (
        f"rbf_witness n=m={n} d={d} 3 bandwidths",
        lambda: rbf_witness.rbf_witness_forward(x, y, h, False),
        {
            "torch.cdist": lambda: torch.stack([kernel(s).mean(1) for s in h], 1),
            "the bare fp32 product": lambda: x @ y.t(),
        },
        2 * x.nbytes,
        2 * n * n * d,
    )


def ngram_cases():
    tokens = (torch.rand(2_000_000, device="cuda") ** 3 * VOCABULARY).long()
    offsets = torch.arange(0, len(tokens) + 1, 500, device="cuda")
    host = tokens.cpu(), offsets.cpu()
    for n in (1, 2, 3):
        ours = lambda n=n: ngram.ngram_counts_forward(tokens, offsets, n, VOCABULARY, None)
        peer = lambda n=n: ngram.ngram_counts_forward(*host, n, VOCABULARY, None)
        yield f"ngram_counts n={n} 2M tokens", ours, {"the same on the CPU": peer}, tokens.nbytes, 0


def sample_tokens_cases():
    for B in (1, 8, 64, 512):
        logits = 3 * randn(B, VOCABULARY)
        yield _sample_tokens("plain", logits)
        yield _sample_tokens("min-p 1e-5", logits, min_p=1e-5)
        yield _sample_tokens("top-p .95", logits, top_p=0.95)
        yield _sample_tokens("top-k 50, top-p .95", logits, top_k=50, top_p=0.95)


def _sample_tokens(name, logits, top_k=0, top_p=1.0, min_p=0.0):
    B = len(logits)
    seeds = torch.arange(B, device="cuda")
    t, p, m = (torch.full((B,), v, device="cuda") for v in (0.9, top_p, min_p))
    k = torch.full((B,), top_k, device="cuda", dtype=torch.int32)
    ours = lambda: sample_tokens.sample_tokens_forward(logits, t, k, p, m, seeds, seeds, seeds)

    def plain():
        ordered, index = (logits.float() / 0.9).sort(-1, descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        kept = torch.where(before < top_p, probabilities, 0.0)
        return index.gather(1, torch.multinomial(kept, 1))

    peers = {"sort, cumsum, multinomial": plain}
    return f"sample_tokens {B} rows, {name}", ours, peers, logits.nbytes, 0
