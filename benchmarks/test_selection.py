"""Population selection: 700 prompts × 4 and 3,000 × 8.

Beside the plain way of recomputing kernel means for every visit.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.samples import Samples

VOCAB = 49_152


def texts(count: int, seed: int, shift: float = 0.0) -> Samples:
    """Embeddings of 384 dimensions on the sphere, 40 to 160 tokens with Zipf's frequencies."""
    rng = np.random.default_rng(seed)
    embeddings = torch.nn.functional.normalize(
        torch.from_numpy(rng.normal(shift, 1, (count, 384))).float()
    )
    lengths = rng.integers(40, 160, count)
    tokens = torch.from_numpy(np.minimum(rng.zipf(1.3, lengths.sum()), VOCAB) - 1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(lengths).cumsum(0)])
    return Samples(embeddings, tokens, offsets, [""] * count)


def kernel_sums_at_every_visit(x: torch.Tensor, prompts: int, bandwidths: torch.Tensor) -> float:
    """Seconds for one sweep's kernel sums, prompt after prompt against the whole population."""
    groups, start = x.view(prompts, -1, x.shape[1]), time.perf_counter()
    population = groups[:, 0]
    for group in groups:
        squared = torch.cdist(group, population).square()
        sum(torch.exp(squared / (-2 * h * h)).sum(1) for h in bandwidths.tolist())
    return time.perf_counter() - start


@pytest.mark.parametrize("prompts, candidates", [(700, 4), (3000, 8)])
def test_select(benchmark, prompts, candidates):
    offered, human = texts(prompts * candidates, 0, 0.03), texts(2000, 1)
    start = time.perf_counter()
    terms = make_terms(offered, human, VOCAB, {"mmd": 1.0, "ngram": 1.0})
    benchmark.extra_info["preparation_s"] = time.perf_counter() - start
    prompt = np.repeat(np.arange(prompts), candidates)
    _, records = benchmark.pedantic(select_population, (prompt, terms, 0), rounds=1)
    plain = kernel_sums_at_every_visit(
        offered.embeddings, prompts, terms["mmd"][1].mmd.bandwidths
    ) * (len(records) - 1)
    benchmark.extra_info["sweeps"] = len(records) - 1
    benchmark.extra_info["plain_kernel_sums_over_ours"] = plain / benchmark.stats["mean"]
    assert records[-1]["J"] < records[0]["J"]
