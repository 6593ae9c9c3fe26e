"""Cases of the kernels over a vocabulary and over texts.

Each yields (name, ours, {peer: call}, bytes that must move, floating-point operations).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from gpu_inputs import VOCABULARY, over_layers, randn

from dftfast.kernels.triton import linear_logprob, ngram, rbf_witness, sample_tokens


@over_layers
def linear_logprob_cases(model, sizes):
    T, d = 4096, sizes[0]
    h, weight = randn(T, d), randn(VOCABULARY, d) / d**0.5
    target = torch.randint(0, VOCABULARY, (T,), device="cuda")
    one = torch.full((T,), 1 / T, device="cuda")

    def plain():
        rows = []  # in pieces, the whole would not fit beside a model
        for part, wanted in zip(h.split(512), target.split(512)):
            rows.append(-F.cross_entropy((part @ weight.t()).float(), wanted, reduction="none"))
        return torch.cat(rows)

    product = 2 * T * VOCABULARY * d
    logprob = lambda: linear_logprob.linear_logprob_forward(h, weight, target, 1.0)
    peers = {"torch, 512 rows at a time": plain}
    yield f"linear_logprob {model} T={T}", logprob, peers, weight.nbytes + h.nbytes, product
    entropy = lambda: linear_logprob.linear_cross_entropy_forward(
        h, weight, target, one, 1.0, False
    )
    yield f"linear_cross_entropy {model} T={T}", entropy, {}, 3 * weight.nbytes, 3 * product


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
    for B in (64, 512):
        logits = 3 * randn(B, VOCABULARY)
        yield _sample_tokens("plain", logits, 0, 1.0)
        yield _sample_tokens("top-p .95", logits, 0, 0.95)
        yield _sample_tokens("top-k 50, top-p .95", logits, 50, 0.95)


def _sample_tokens(name, logits, top_k, top_p):
    B = len(logits)
    seeds = torch.arange(B, device="cuda")
    t, p, m = (torch.full((B,), v, device="cuda") for v in (0.9, top_p, 0.0))
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
