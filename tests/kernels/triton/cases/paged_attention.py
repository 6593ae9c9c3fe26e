from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import paged_attention as op

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def paged(lengths, page, Hk, D, dtype, device, room=1):
    """Random caches and a shuffled block table; unused blocks hold NaN, which no result may see."""
    need = [-(-n // page) for n in lengths]
    blocks = torch.randperm(sum(need) + 3).tolist()
    table = torch.zeros(len(lengths), max(need, default=0) + room, dtype=torch.int32)
    k_cache, v_cache = torch.full((2, len(blocks), page, Hk, D), float("nan"))
    k, v = [], []
    for s, n in enumerate(lengths):
        mine = [blocks.pop() for _ in range(need[s])]
        table[s, : need[s]] = torch.tensor(mine, dtype=torch.int32)
        keys, values = torch.randn(2, n, Hk, D).to(dtype).float()
        for position in range(n):
            k_cache[mine[position // page], position % page] = keys[position]
            v_cache[mine[position // page], position % page] = values[position]
        k.append(keys.to(device))
        v.append(values.to(device))
    return k, v, k_cache.to(dtype).to(device), v_cache.to(dtype).to(device), table.to(device)


def formula(q, k, v, counts, scale, dtype):
    out, begin = [], 0
    for keys, values, n in zip(k, v, counts, strict=True):
        queries = q[begin : begin + n].to(dtype)
        begin += n
        group = q.shape[1] // keys.shape[1]
        keys, values = (t.to(dtype).repeat_interleave(group, 1) for t in (keys, values))
        scores = torch.einsum("qhd,khd->hqk", queries, keys) * scale
        last = torch.arange(n, device=q.device) + len(keys) - n
        future = torch.arange(len(keys), device=q.device)[None] > last[:, None]
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        out.append(torch.einsum("hqk,khd->qhd", weights, values))
    return torch.cat(out)


def attend(check, device, dtype, lengths, counts, H, Hk, D, page):
    k, v, k_cache, v_cache, table = paged(lengths, page, Hk, D, dtype, device)
    q = torch.randn(sum(counts), H, D, device=device).to(dtype)
    offsets = torch.tensor([0, *counts], device=device).cumsum(0).to(torch.int32)
    out = op.paged_attention_forward(
        q,
        k_cache,
        v_cache,
        table,
        offsets,
        torch.tensor(lengths, dtype=torch.int32, device=device),
        D**-0.5,
    )
    check(
        (out,),
        (formula(q, k, v, counts, D**-0.5, torch.float64),),
        (formula(q, k, v, counts, D**-0.5, dtype),),
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "H,Hk,D", [(1, 1, 16), (6, 2, 64), (9, 3, 80), (4, 4, 96), (8, 1, 128), (2, 1, 256)]
)
def test_decode(check, device, dtype, H, Hk, D):
    attend(check, device, dtype, [1, 17, 70], [1, 1, 1], H, Hk, D, 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("H,Hk,D", [(1, 1, 16), (6, 2, 64), (9, 3, 80), (4, 2, 128)])
def test_prefill_with_a_cached_prefix(check, device, dtype, H, Hk, D):
    attend(check, device, dtype, [5, 40, 33, 90], [5, 1, 33, 25], H, Hk, D, 16)


def test_decode_over_several_shares(check, device, monkeypatch):
    monkeypatch.setattr(op, "MIN_SHARE", 64)
    attend(check, device, torch.float32, [1, 64, 65, 300], [1] * 4, 4, 2, 32, 8)


def test_sequences_without_queries(check, device):
    attend(check, device, torch.float32, [3, 9, 4, 70], [0, 2, 0, 66], 3, 1, 16, 4)


def test_no_tokens(device):
    empty = torch.empty(0, 2, 16, device=device)
    cache = torch.zeros(1, 4, 1, 16, device=device)
    none = torch.zeros(1, dtype=torch.int32, device=device)
    assert (
        op.paged_attention_forward(
            empty, cache, cache, none[:, None], torch.cat([none, none]), none, 1.0
        ).shape
        == empty.shape
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_store(device, dtype):
    k, v = torch.randn(2, 5, 3, 20, device=device).to(dtype)
    k_cache, v_cache = torch.zeros(2, 4, 2, 3, 20, device=device).to(dtype)
    expected_k, expected_v = k_cache.clone(), v_cache.clone()
    slots = torch.tensor([7, -1, 0, 4, -1], device=device)
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            expected_k[slot // 2, slot % 2], expected_v[slot // 2, slot % 2] = k[token], v[token]
    op.store_kv_forward(k, v, k_cache, v_cache, slots)
    assert torch.equal(k_cache, expected_k) and torch.equal(v_cache, expected_v)


def test_a_cache_of_more_than_two_to_the_31_elements(check, device):
    page, Hk, D = 16, 8, 128
    blocks = (
        2**31 // (page * Hk * D) + 2
    )  # untouched pages of the allocation take no memory on a CPU
    k_cache, v_cache = (
        torch.empty(blocks, page, Hk, D, dtype=torch.float16, device=device) for _ in range(2)
    )
    k, v = torch.randn(2, 5, Hk, D, device=device).half()
    slots = (blocks - 1) * page + torch.arange(5, device=device)
    op.store_kv_forward(k, v, k_cache, v_cache, slots)
    assert torch.equal(k_cache[-1, :5], k) and torch.equal(v_cache[-1, :5], v)
    q = torch.randn(1, 8, D, device=device).half()
    table, offsets, length = (
        torch.tensor(t, dtype=torch.int32, device=device) for t in ([[blocks - 1]], [0, 1], [5])
    )
    out = op.paged_attention_forward(q, k_cache, v_cache, table, offsets, length, 0.1)
    exact, plain = (formula(q, [k], [v], [1], 0.1, t) for t in (torch.float64, torch.float16))
    check((out,), (exact,), (plain,), torch.float16)
