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
    monkeypatch.setattr(op, "SHARE", 64)
    attend(check, device, torch.float32, [1, 64, 65, 300], [1] * 4, 4, 2, 32, 8)


def test_one_query_for_a_sequence_and_none_for_another(check, device, monkeypatch):
    monkeypatch.setattr(op, "SHARE", 64)
    attend(check, device, torch.float32, [70, 200, 3], [0, 2, 1], 4, 2, 32, 8)


class Poisoned:
    """`torch` whose empty tensors hold NaN or the largest number, and the shapes asked for."""

    def __init__(self):
        self.shapes = []

    def __getattr__(self, name):
        return getattr(torch, name)

    def empty(self, *shape, **kind):
        self.shapes.append(shape)
        value = torch.nan if kind["dtype"].is_floating_point else torch.iinfo(kind["dtype"]).max
        return torch.full(shape, value, **kind)


def test_a_table_as_wide_as_the_context_costs_no_bit(check, device, monkeypatch):
    """2,560 columns and 200 keys: 80 shares are launched, and what 79 never wrote is never read."""
    lengths, H, Hk, D = [200, 1, 197], 4, 2, 32
    k, v, k_cache, v_cache, table = paged(lengths, 16, Hk, D, torch.float32, device)
    q = torch.randn(3, H, D, device=device)
    offsets = torch.arange(4, dtype=torch.int32, device=device)
    length = torch.tensor(lengths, dtype=torch.int32, device=device)
    wide = torch.nn.functional.pad(table, (0, 2560 - table.shape[1]))
    poisoned = Poisoned()
    monkeypatch.setattr(op, "torch", poisoned)
    outputs = [
        op.paged_attention_forward(q, k_cache, v_cache, t, offsets, length, D**-0.5)
        for t in (wide, wide[:, :64], table)
    ]
    partial = [shape for shape in poisoned.shapes if len(shape) == 4]
    assert [shape[0] for shape in partial] == [80, 2]  # and one share has nothing to merge
    assert all(torch.equal(out, outputs[0]) for out in outputs)
    exact, plain = (
        formula(q, k, v, [1, 1, 1], D**-0.5, dtype) for dtype in (torch.float64, torch.float32)
    )
    check((outputs[0],), (exact,), (plain,), torch.float32)


def test_a_decode_does_not_depend_on_its_company(device, monkeypatch):
    """Alone, its table cut to its own length, or beside a sequence of many shares: equal bits."""
    monkeypatch.setattr(op, "SHARE", 64)
    lengths, H, Hk, D = [50, 130, 900], 4, 2, 32
    _, _, k_cache, v_cache, table = paged(lengths, 16, Hk, D, torch.bfloat16, device)
    q = torch.randn(3, H, D, device=device).bfloat16()
    offsets = torch.arange(4, dtype=torch.int32, device=device)
    length = torch.tensor(lengths, dtype=torch.int32, device=device)
    together = op.paged_attention_forward(q, k_cache, v_cache, table, offsets, length, 0.2)
    for s, n in enumerate(lengths):
        own = table[s : s + 1, : -(-n // 16)]
        alone = op.paged_attention_forward(
            q[s : s + 1], k_cache, v_cache, own, offsets[:2], length[s : s + 1], 0.2
        )
        assert torch.equal(alone, together[s : s + 1])


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
