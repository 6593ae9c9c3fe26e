"""KL of the model to a next-token distribution estimated from the corpus, with an accuracy term."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.dft.context import PhaseContext
from dftfast.dft.expected_reward import expected_reward
from dftfast.dft.ngram_reward import following
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
    target = SmoothedBigrams(context.human, context.policy.decoder.config.vocab_size)

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

    context.learn(phase, context.phase_prompts(phase), LoopHooks(loss=loss))
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
