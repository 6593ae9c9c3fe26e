"""Fused operators for training and sampling language models; needs nothing but torch (and triton)."""

from .linear_logprob import linear_cross_entropy, linear_logprob
from .ngram import ngram_counts, ngram_jsd, ngram_l2, ngram_lookup
from .rbf_witness import rbf_witness

__all__ = [
    "linear_cross_entropy",
    "linear_logprob",
    "ngram_counts",
    "ngram_jsd",
    "ngram_l2",
    "ngram_lookup",
    "rbf_witness",
]
