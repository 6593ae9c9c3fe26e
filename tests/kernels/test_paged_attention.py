"""paged_attention and store_kv against an explicit softmax in fp64 over the gathered keys."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast.kernels import paged_attention, store_kv
from dftfast.kernels.reference import paged_attention as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def inputs(work, heads, kv_heads, dim, page, dtype, seed=0):
    """work: (cached tokens, of which queries) of each sequence.

    Slots that hold no token are NaN.
    """
    g = torch.Generator().manual_seed(seed)
    need = [-(-length // page) for length, _ in work]
    order = torch.randperm(sum(need) + 2, generator=g).tolist()
    caches = torch.full((2, len(order), page, kv_heads, dim), torch.nan, dtype=dtype)
    table = torch.zeros(len(work), max(need) + 1, dtype=torch.int32)
    for row, (length, _), blocks in zip(table, work, need):
        mine = torch.tensor([order.pop() for _ in range(blocks)], dtype=torch.int64)
        row[:blocks] = mine.int()
        positions = torch.arange(length)
        slots = mine[positions // page] * page + positions % page
        k, v = torch.randn(2, length, kv_heads, dim, generator=g).to(dtype)
        store_kv(k, v, *caches, slots)
        assert torch.equal(caches[0].flatten(0, 1)[slots], k) and torch.equal(
            caches[1].flatten(0, 1)[slots], v
        )
    lengths, queries = torch.tensor(work, dtype=torch.int32).T
    offsets = torch.cat([torch.zeros(1, dtype=torch.int32), queries.cumsum(0, dtype=torch.int32)])
    q = torch.randn(int(offsets[-1]), heads, dim, generator=g).to(dtype)
    return q, *caches, table, offsets, lengths.contiguous(), dim**-0.5


def oracle(q, k_cache, v_cache, table, offsets, lengths, scale):
    out = []
    for s, length in enumerate(lengths.tolist()):
        queries = q[offsets[s] : offsets[s + 1]].double()
        slots = [
            int(table[s, p // k_cache.shape[1]]) * k_cache.shape[1] + p % k_cache.shape[1]
            for p in range(length)
        ]
        group = q.shape[1] // k_cache.shape[2]
        keys, values = (
            c.flatten(0, 1)[slots].double().repeat_interleave(group, 1) for c in (k_cache, v_cache)
        )
        scores = torch.einsum("qhd,khd->hqk", queries, keys) * scale
        last = length - len(queries) + torch.arange(len(queries))
        future = torch.arange(length) > last[:, None]
        weights = scores.masked_fill(future, -torch.inf).softmax(-1)
        out.append(torch.einsum("hqk,khd->qhd", weights, values))
    return torch.cat(out)


def compare(arguments, mutation=1.0):
    expected, usual = oracle(*arguments), reference.paged_attention(*arguments)
    assert_close(
        "paged_attention",
        arguments[0].dtype,
        paged_attention(*arguments) * mutation,
        expected,
        usual,
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([(1, 1), (3, 1), (4, 4), (6, 2), (50, 1)]),
    st.sampled_from([8, 20, 64, 80, 96]),
    st.sampled_from([1, 4, 16]),
    st.sampled_from(DTYPES),
)
def test_oracle_any_shape(work, heads, dim, page, dtype):
    compare(inputs(work, *heads, dim, page, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "heads,kv_heads,dim", [(9, 3, 64), (9, 3, 80), (4, 4, 96), (8, 2, 128), (4, 1, 256)]
)
@pytest.mark.parametrize(
    "work", [[(1, 1), (17, 1), (300, 1)], [(5, 5), (40, 1), (130, 60)]], ids=["decode", "prefill"]
)
def test_oracle_head_sizes_on_threads(work, heads, kv_heads, dim, dtype):
    arguments = inputs(work, heads, kv_heads, dim, 16, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        compare(arguments)
        with pytest.raises(AssertionError, match="exceeds"):
            compare(arguments, mutation=1.01)
    finally:
        torch.set_num_threads(before)


def test_a_sequence_does_not_see_the_others():
    work = [(40, 1), (33, 20), (9, 9)]
    q, k_cache, v_cache, table, offsets, lengths, scale = inputs(work, 6, 2, 64, 16, torch.float32)
    together = paged_attention(q, k_cache, v_cache, table, offsets, lengths, scale)
    for s in range(len(work)):
        begin, end = offsets[s : s + 2].tolist()
        own = torch.tensor([0, end - begin], dtype=torch.int32)
        alone = paged_attention(
            q[begin:end], k_cache, v_cache, table[s : s + 1], own, lengths[s : s + 1], scale
        )
        assert torch.equal(alone, together[begin:end])


def test_skipped_slots_and_no_tokens():
    k, v = torch.randn(2, 3, 2, 8)
    caches = torch.zeros(2, 2, 4, 2, 8)
    store_kv(k, v, *caches, torch.tensor([-1, 5, -1]))
    assert (
        torch.equal(caches[0, 1, 1], k[1])
        and torch.equal(caches[1, 1, 1], v[1])
        and caches.count_nonzero() == 32
    )
    store_kv(k[:0], v[:0], *caches, torch.empty(0, dtype=torch.int64))
    none = torch.zeros(1, dtype=torch.int32)
    assert paged_attention(
        torch.empty(0, 4, 8), *caches, none[:0, None], none, none[:0], 1.0
    ).shape == (0, 4, 8)


def test_bad_input_is_refused():
    q, k_cache, v_cache, table, offsets, lengths, scale = inputs(
        [(5, 1), (9, 4)], 4, 2, 8, 4, torch.float32
    )
    caches = (k_cache, v_cache)
    with pytest.raises(ValueError, match="multiple of Hk"):
        paged_attention(q[:, :3], *caches, table, offsets, lengths, scale)
    with pytest.raises(TypeError, match="bfloat16"):
        paged_attention(q.bfloat16(), *caches, table, offsets, lengths, scale)
    with pytest.raises(TypeError, match="int32"):
        paged_attention(q, *caches, table.long(), offsets, lengths, scale)
    with pytest.raises(ValueError, match="query_offsets"):
        paged_attention(q, *caches, table, offsets[:2], lengths, scale)
    with pytest.raises(ValueError, match="longer than its block table"):
        paged_attention(q, *caches, table, offsets, lengths + 90, scale)
    with pytest.raises(ValueError, match="more queries than tokens"):
        paged_attention(q, *caches, table, offsets, lengths - 8, scale)
    with pytest.raises(ValueError, match="outside the cache"):
        paged_attention(q, *caches, table + 90, offsets, lengths, scale)
    with pytest.raises(ValueError, match="slot outside"):
        store_kv(q[:1, :2], q[:1, :2], *caches, torch.tensor([k_cache.shape[0] * 4]))
    with pytest.raises(ValueError, match="contiguous"):
        store_kv(q[:1, :2], q[:1, :2], *(c.transpose(0, 1) for c in caches), torch.tensor([0]))
