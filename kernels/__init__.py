"""Fused operators for training and sampling language models; needs nothing but torch (and triton)."""

from .causal_attention import causal_attention
from .linear_logprob import linear_cross_entropy, linear_logprob
from .ngram import ngram_counts, ngram_jsd, ngram_l2, ngram_lookup
from .lora_linear import lora_linear
from .packed_linear import PackedWeight, pack_weight, packed_linear
from .paged_attention import paged_attention, store_kv
from .qk_norm_rope import qk_norm_rope
from .rbf_witness import rbf_witness
from .rms_norm import add_rms_norm, rms_norm
from .sample_tokens import sample_tokens
from .swiglu import swiglu

__all__ = [
    "PackedWeight",
    "add_rms_norm",
    "causal_attention",
    "linear_cross_entropy",
    "linear_logprob",
    "lora_linear",
    "ngram_counts",
    "ngram_jsd",
    "ngram_l2",
    "ngram_lookup",
    "pack_weight",
    "packed_linear",
    "paged_attention",
    "qk_norm_rope",
    "rbf_witness",
    "rms_norm",
    "sample_tokens",
    "store_kv",
    "swiglu",
]
