"""causal_attention, paged_attention and store_kv against an explicit softmax in fp64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast.kernels import causal_attention
from dftfast.kernels.reference.causal_attention import causal_attention as plain

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def oracle(q, k, v, offsets):
    """The formula in fp64 with every score written out; independent of SDPA."""
    out = []
    for begin, end in zip(offsets.tolist(), offsets.tolist()[1:]):
        group = q.shape[1] // k.shape[1]
        queries, keys, values = (
            q[begin:end],
            *(x[begin:end].repeat_interleave(group, 1) for x in (k, v)),
        )
        scores = torch.einsum("qhd,khd->hqk", queries, keys) * q.shape[2] ** -0.5
        future = torch.ones(end - begin, end - begin, dtype=torch.bool).triu(1)
        out.append(
            torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), values)
        )
    return torch.cat(out)


def documents(lengths, heads, kv_heads, dim, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    tokens = sum(lengths)
    q, k, v = (
        torch.randn(tokens, h, dim, generator=g).to(dtype) for h in (heads, kv_heads, kv_heads)
    )
    return q, k, v, torch.tensor([0, *lengths]).cumsum(0)


def run(function, q, k, v, offsets, dtype=None):
    leaves = [t.detach().to(dtype or t.dtype).requires_grad_() for t in (q, k, v)]
    out = function(*leaves, offsets)
    cotangent = (
        torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(out.dtype)
    )
    return [out, *torch.autograd.grad(out, leaves, cotangent)]


def compare(inputs, mutated=None):
    """Against the oracle, the gradient of q, k or v off by 1 % where `mutated` is 1, 2 or 3."""
    exact, torchs = run(oracle, *inputs, torch.float64), run(plain, *inputs)
    for i, (actual, expected, usual) in enumerate(
        zip(run(causal_attention, *inputs), exact, torchs)
    ):
        assert_close(
            "causal_attention",
            inputs[0].dtype,
            1.01 * actual if i == mutated else actual,
            expected,
            usual,
        )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=4).filter(any),
    st.sampled_from([(1, 1), (3, 1), (4, 4), (6, 2), (50, 1)]),
    st.sampled_from([1, 8, 20, 64, 80, 96]),
    st.sampled_from(DTYPES),
)
def test_oracle_any_shape(lengths, heads, dim, dtype):
    compare(documents(lengths, *heads, dim, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_oracle_of_a_layer_on_threads_and_mutation(dtype):
    inputs = documents([20, 250, 1, 133, 0, 97], 9, 3, 64, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = run(causal_attention, *inputs)
    torch.set_num_threads(3)
    try:
        compare(inputs)
        assert all(torch.equal(a, b) for a, b in zip(alone, run(causal_attention, *inputs)))
        for mutated in (1, 2, 3):
            with pytest.raises(AssertionError, match="exceeds"):
                compare(inputs, mutated)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dim", [128, 256])
def test_oracle_of_large_heads(dim):
    compare(documents([65, 40], 4, 2, dim, torch.bfloat16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_oracle_of_long_documents(dtype):
    compare(documents([530, 257], 3, 1, 32, dtype))


# Documents that begin alike, by the rows of their tokens; the last two are beginnings of others.
SHARED = [[0, 1, 2, 3], [0, 1, 4], [0, 1, 2, *range(5, 80)], [80, 81], [0, 1, 2], [80]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [64, 20])
def test_oracle_of_shared_beginnings(dtype, dim):
    q, k, v, _ = documents([82], 6, 2, dim, dtype)
    offsets = torch.tensor([0, *map(len, SHARED)]).cumsum(0)
    rows = torch.tensor([row for document in SHARED for row in document])
    first = torch.tensor([rows.tolist().index(row) for row in range(82)])
    spread = lambda function: lambda q, k, v, o: function(q[rows], k[rows], v[rows], o)[first]
    ours = lambda q, k, v, o: causal_attention(q, k, v, o, rows=rows)
    exact, torchs = (
        run(spread(f), q, k, v, offsets, d) for f, d in ((oracle, torch.float64), (plain, None))
    )
    for actual, expected, usual in zip(run(ours, q, k, v, offsets), exact, torchs):
        assert_close("causal_attention", dtype, actual, expected, usual)


def test_special_nan_stays_in_its_document_and_large_scores_do_not_overflow():
    q, k, v, offsets = documents([30, 30, 30], 4, 2, 16, torch.float32)
    clean = causal_attention(q, k, v, offsets)
    k[40], v[50] = torch.nan, torch.inf
    dirty = causal_attention(q, k, v, offsets)
    outside = torch.arange(90).div(30, rounding_mode="floor") != 1
    assert torch.equal(dirty[outside], clean[outside]) and not dirty[40:].isfinite()[:20].any()
    huge = [1e4 * t for t in documents([40], 2, 1, 16, torch.float32)[:2]]
    results = run(causal_attention, *huge, v[:40, :1], torch.tensor([0, 40]))
    assert all(t.isfinite().all() for t in results)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e7])
def test_special_one_key_that_outweighs_the_others(size):
    """Its weight is 1 to the last bit, however large the scores."""
    q, k, v, offsets = documents([40], 2, 1, 64, torch.bfloat16)
    q, k = q.abs() * size, torch.arange(40).view(40, 1, 1).expand(40, 1, 64).bfloat16() * size
    out, _, _, dv = run(causal_attention, q, k, v, offsets)
    assert torch.equal(out, v.repeat(1, 2, 1))
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    torch.testing.assert_close(dv, cotangent.float().sum(1, keepdim=True).bfloat16())


def test_empty_and_non_contiguous():
    q, k, v, offsets = documents([7, 9], 4, 2, 8, torch.float32)
    expected = run(causal_attention, q, k, v, offsets)
    strided = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (q, k, v)]
    assert all(
        torch.equal(a, b) for a, b in zip(run(causal_attention, *strided, offsets), expected)
    )
    for none in (torch.tensor([0]), torch.tensor([0, 0])):
        assert all(t.shape[0] == 0 for t in run(causal_attention, q[:0], k[:0], v[:0], none))


def test_reference_gradcheck():
    inputs = [t.double().requires_grad_() for t in documents([3, 1], 4, 2, 3, torch.float32)[:3]]
    assert torch.autograd.gradcheck(lambda *x: plain(*x, torch.tensor([0, 3, 4])), inputs)


def test_compiles_without_graph_breaks():
    q, k, v, offsets = documents([5, 3], 4, 2, 8, torch.float32)
    compiled = torch.compile(causal_attention, fullgraph=True, backend="aot_eager")
    for a, b in zip(run(compiled, q, k, v, offsets), run(causal_attention, q, k, v, offsets)):
        assert torch.equal(a, b)


def test_bad_input_is_refused():
    q, k, v, offsets = documents([5, 3], 4, 2, 8, torch.float32)
    with pytest.raises(ValueError, match="multiple of Hk"):
        causal_attention(q[:, :3], k, v, offsets)
    with pytest.raises(ValueError, match="multiple of Hk"):
        causal_attention(q, k[:4], v[:4], offsets)
    with pytest.raises(TypeError, match="float64"):
        causal_attention(q.double(), k.double(), v.double(), offsets)
    with pytest.raises(ValueError, match="int32 or int64 offsets"):
        causal_attention(q, k, v, offsets.short())
    for wrong in ([0, 5, 9], [1, 5, 8], [0, 6, 5, 8]):
        with pytest.raises(ValueError, match="must rise"):
            causal_attention(q, k, v, torch.tensor(wrong))
    offsets = torch.tensor([0, 5, 10])
    for rows, complaint in (
        ([0, 1, 2, 3, 4, 0, 1, 5, 6, 8], "from 0 to the number"),
        ([0, 1, 2, 3, 4, 0, 1, 5, 6, 6], "that follow the same rows"),
        ([0, 1, 2, 3, 4, 0, 2, 5, 6, 7], "that follow the same rows"),
        ([0, 1, 2, 3, 4, 0, 1, 2, 5, 6], "every row of q must be"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "must rise"),
    ):
        with pytest.raises(ValueError, match=complaint):
            causal_attention(q, k, v, offsets, rows=torch.tensor(rows))
    with pytest.raises(ValueError, match="int64 rows"):
        causal_attention(q, k, v, offsets, rows=torch.zeros(10))
