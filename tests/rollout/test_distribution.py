"""What the engine draws, against the exact distribution: a chi-square test per setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from dftfast.model.attention import packed_causal
from dftfast.rollout import Request, RolloutEngine, Sampler

from .models import tiny_decoder

PROMPT = [3, 141, 59, 26, 5]
SETTINGS = {
    "plain": {},
    "hot": {"temperature": 1.5},
    "cold": {"temperature": 0.4},
    "top_k": {"top_k": 12},
    "top_p": {"top_p": 0.7},
    "min_p": {"min_p": 0.08},
    "all cuts, tempered": {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
    "penalty": {"repetition_penalty": 1.8},
    "bias": {"logit_bias": {7: 3.0, 8: -2.0}},
    "ban": {"banned_token_ids": tuple(range(0, 200, 3))},
    "stop held back": {"stop_token_ids": (9, 10, 11), "min_tokens": 1},
}


def exact_distribution(logits: np.ndarray, s: Sampler) -> np.ndarray:
    """From the documented order of operations, in fp64 and by sorting."""
    logits = logits.copy()
    for token, bias in s.logit_bias.items():
        logits[token] += bias
    for token in set(PROMPT) if s.repetition_penalty != 1 else ():
        logits[token] *= s.repetition_penalty if logits[token] < 0 else 1 / s.repetition_penalty
    logits[list(s.banned_token_ids)] = -np.inf
    logits[list(s.stop_token_ids)] = -np.inf
    p = np.exp((logits - logits.max()) / s.temperature)
    order = np.argsort(-p)
    p /= p.sum()
    keep = np.ones(len(p), bool)
    if s.top_k:
        keep[order[s.top_k :]] = False
    p = np.where(keep, p, 0) / p[keep].sum()
    before = np.cumsum(p[order]) - p[order]
    keep[order[before >= s.top_p]] = False
    keep &= p >= s.min_p * p.max()
    return np.where(keep, p, 0) / p[keep].sum()


@pytest.mark.parametrize("name", SETTINGS)
def test_draws_follow_the_exact_distribution(name):
    decoder = tiny_decoder("qwen3", torch.float32)
    sampler = Sampler(max_tokens=1, **SETTINGS[name])
    with torch.no_grad():
        prompt = torch.tensor(PROMPT)
        hidden = decoder(prompt, torch.arange(5), packed_causal(torch.tensor([0, 5])))[-1]
        expected = exact_distribution((decoder.head_weight @ hidden).double().numpy(), sampler)
    engine = RolloutEngine(decoder, cache_tokens=4096, max_sequences=2000)
    batch = engine.generate([Request(i, PROMPT, sampler, seed=5, n=2000) for i in range(5)])
    counts = np.bincount(batch.tokens.numpy(), minlength=len(expected))
    assert not counts[expected == 0].any(), "a token outside the kept set was drawn"
    at = expected[batch.tokens.numpy()]
    np.testing.assert_allclose(batch.sampler_logprobs.numpy(), np.log(at), atol=1e-4)
    wanted = expected * counts.sum()
    rare = wanted < 5  # pooled into one class
    cells = (
        np.append(wanted[~rare], wanted[rare].sum()),
        np.append(counts[~rare], counts[rare].sum()),
    )
    statistic = sum((c - w) ** 2 / w for w, c in zip(*cells) if w)
    degrees = sum(w > 0 for w in cells[0]) - 1
    assert statistic < chi2.ppf(1 - 1e-4, degrees)


def test_greedy_draws_the_most_likely_token_with_certainty():
    decoder = tiny_decoder("qwen3", torch.float32)
    batch = RolloutEngine(decoder, cache_tokens=256).generate(
        [Request(0, PROMPT, Sampler(0.0, max_tokens=9), n=3)]
    )
    first, *others = [batch.output(i) for i in range(3)]
    assert others == [first, first]
    assert not batch.sampler_logprobs.any() and (batch.logprobs < 0).all()
