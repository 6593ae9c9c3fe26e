"""Fused operators for training and sampling language models.

Importing them needs torch and numpy alone. CUDA tensors need triton, CPU tensors the compiled
module.
"""

from dftfast.kernels._causal_attention import causal_attention
from dftfast.kernels._causal_lm_loss import causal_lm_loss
from dftfast.kernels._linear_logprob import linear_cross_entropy, linear_logprob
from dftfast.kernels._lora_linear import lora_linear
from dftfast.kernels._packed_linear import PackedWeight, pack_weight, packed_linear
from dftfast.kernels._paged_attention import paged_attention, store_kv
from dftfast.kernels._qk_norm_rope import qk_norm_rope
from dftfast.kernels._rbf_witness import rbf_witness
from dftfast.kernels._rms_norm import add_rms_norm, rms_norm
from dftfast.kernels._rope import rope
from dftfast.kernels._sample_tokens import sample_tokens
from dftfast.kernels._swiglu import swiglu
from dftfast.kernels.ngram import ngram_counts, ngram_jsd, ngram_l2, ngram_lookup

__all__ = [
    "PackedWeight",
    "add_rms_norm",
    "causal_attention",
    "causal_lm_loss",
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
    "rope",
    "sample_tokens",
    "store_kv",
    "swiglu",
]
