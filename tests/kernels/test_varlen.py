"""What causal_attention asks of torch's `varlen_attn`, which runs on a card alone.

The real function is called on meta tensors, so that its signature and its checks are those of the
installed torch; the numbers come from the arguments that it was given, by the reference.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn.attention import varlen

from dftfast.kernels import _causal_attention as op
from dftfast.kernels import causal_attention
from dftfast.kernels.reference import causal_attention as reference

OFFSETS = torch.tensor([0, 5, 5, 12], dtype=torch.int32)


def qkv(heads, kv_heads, device="cpu"):
    g = torch.Generator().manual_seed(0)
    sizes = [(12, n, 16) for n in (heads, kv_heads, kv_heads)]
    return [torch.randn(size, generator=g).bfloat16().to(device) for size in sizes]


@pytest.mark.parametrize("heads,kv_heads", [(4, 4), (6, 2)])
def test_the_real_function_takes_the_arguments(heads, kv_heads):
    q, k, v = qkv(heads, kv_heads, "meta")
    out = op._varlen(q, k, v, OFFSETS.to("meta"), 7)
    assert out.shape == q.shape and out.dtype == q.dtype and out.is_meta


@pytest.mark.parametrize("shares_heads", [True, False])
def test_shared_heads_are_repeated_only_for_a_torch_that_cannot_share_them(
    shares_heads, monkeypatch
):
    q, k, v = qkv(6, 2)
    calls = []

    def older(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1)):
        calls.append(locals())
        assert query.shape[1] == key.shape[1]
        return reference.causal_attention(query, key, value, cu_seq_q)

    def newer(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size, enable_gqa):
        calls.append(locals())
        assert enable_gqa
        return reference.causal_attention(query, key, value, cu_seq_q)

    real = inspect.signature(varlen.varlen_attn)
    assert not set(inspect.signature(older).parameters) - set(real.parameters)
    monkeypatch.setattr(varlen, "varlen_attn", newer if shares_heads else older)
    out = op._varlen(q, k, v, OFFSETS, 7)
    torch.testing.assert_close(out, causal_attention(q, k, v, OFFSETS), atol=0.02, rtol=0.02)
    (call,) = calls
    assert call["key"].shape[1] == (2 if shares_heads else 6)
    assert call["window_size"] == (-1, 0)  # causal
    assert (call["max_q"], call["max_k"]) == (7, 7) and call["cu_seq_k"].dtype == torch.int32
