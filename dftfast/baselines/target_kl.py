"""KL of the model to a next-token distribution estimated from the corpus, with an accuracy term."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.baselines.expected_reward import expected_reward
from dftfast.baselines.learn import learn
from dftfast.dft.context import PhaseContext
from dftfast.distribution.samples import Samples
from dftfast.kernels import linear_cross_entropy, ngram_counts
from dftfast.model.decoder import Decoder
from dftfast.optimise.fit import LoopHooks
from dftfast.optimise.likelihood import completion_states
from dftfast.optimise.packing import PackedBatch

ACCURACY = 0.2  # share of the likelihood of the human token; the rest is the divergence
PRIOR = 20.0  # bigrams are smoothed by this many draws of the unigram distribution


def target_kl(context: PhaseContext, phase: int) -> dict:
    """`ACCURACY · −log p(human token) + (1 − ACCURACY) · KL(p ‖ target)` over the human texts."""
    target = SmoothedBigrams(context.human_texts, context.policy.decoder.config.vocab_size)

    def loss(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
        hidden = completion_states(decoder, batch)
        accuracy, _ = linear_cross_entropy(
            hidden, decoder.head_weight, batch.targets, batch.weights * scale
        )
        before = batch.tokens[batch.rows]
        gap = expected_reward(
            hidden, decoder.head_weight, lambda rows, p: target.log_probability(before[rows]) - p
        )
        return ACCURACY * accuracy - (1 - ACCURACY) * scale * gap

    learn(context, phase, context.phase_prompts(phase), LoopHooks(loss=loss))
    return {}


class SmoothedBigrams:
    """`(c(u, v) + PRIOR · p(v)) / (c(u) + PRIOR)` from human texts.

    p(v) is smoothed by one count for every token.
    """

    def __init__(self, human: Samples, vocab: int):
        unigrams = torch.bincount(human.tokens, minlength=vocab).double()
        self.vocab, self.unigram = vocab, (unigrams + 1) / (unigrams + 1).sum()
        self.keys, self.counts = ngram_counts(human.tokens, human.offsets, 2, vocab)
        self.before = torch.zeros(vocab, dtype=torch.float64).index_add(
            0, self.keys // vocab, self.counts.double()
        )

    def log_probability(self, before: Tensor) -> Tensor:
        """fp32 [r, V] after the tokens `before` int64 [r]."""
        tokens = before.cpu()
        row, token, place = following(self.keys, tokens, self.vocab)
        total = (PRIOR * self.unigram).repeat(len(tokens), 1)
        total[row, token] += self.counts[place]
        return (total / (self.before[tokens] + PRIOR)[:, None]).log().float().to(before.device)


def following(keys: Tensor, prefix: Tensor, vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    """The n-grams that begin with each prefix, of sorted n-gram keys.

    prefix: int64 [r], the key of the first n − 1 tokens (0 for n = 1). Returns (row, last token,
    place in keys) of all that there are, int64 each, a row's after another's.
    """
    low, high = (torch.searchsorted(keys, bound * vocab) for bound in (prefix, prefix + 1))
    count = high - low
    row = torch.arange(len(prefix)).repeat_interleave(count)
    place = torch.arange(len(row)) - (count.cumsum(0) - count)[row] + low[row]
    return row, keys[place] % vocab, place
