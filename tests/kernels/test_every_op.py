"""What holds for every op alike: `opcheck`, and strides that reach over 2³¹ elements."""

from __future__ import annotations

import pytest
import torch

import dftfast.kernels  # noqa: F401 (registers the ops)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def angles(tokens: int, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    angle = 6 * randn(tokens, half)
    return angle.cos(), angle.sin()


def sampling(rows: int) -> list[torch.Tensor]:
    columns = (0.8, 4, 0.9, 0.01, 3, 5, 7)
    dtypes = (
        torch.float32,
        torch.int32,
        torch.float32,
        torch.float32,
        torch.int64,
        torch.int64,
        torch.int64,
    )
    return [torch.full((rows,), value, dtype=dtype) for value, dtype in zip(columns, dtypes)]


def integers(*values: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


TOKENS, BOUNDS = integers(1, 2, 3, 1, 2, 3, 1, 4), integers(0, 5, 8)
KEYS, COUNTS = integers(11, 12, 21), integers(1, 2, 1)
TABLE, OFFSETS, LENGTHS = (
    integers(*values, dtype=torch.int32).view(shape)
    for values, shape in (((2, 0, 1, 1), (2, 2)), ((0, 1, 4), (3,)), ((5, 3), (2,)))
)
CACHES = randn(2, 3, 4, 2, 8).unbind()
TARGET = integers(1, 4, 0, 6)

# Arguments, and how many of the first are tensors that training differentiates (in the forward
# ops).
OPS = {
    "rms_norm": ((randn(4, 8), randn(8), 1e-5), 2),
    "rms_norm_backward": ((randn(4, 8), randn(4, 8), randn(8), 1e-5, True), 0),
    "add_rms_norm": ((randn(4, 8), randn(4, 8), randn(8), 1e-5), 3),
    "add_rms_norm_backward": ((randn(4, 8), randn(4, 8), randn(4, 8), randn(8), 1e-5, True), 0),
    "qk_norm_rope": ((randn(4, 56), randn(8), randn(8), *angles(4, 4), 3, 2, 1e-6), 3),
    "qk_norm_rope_backward": (
        (
            randn(4, 3, 8),
            randn(4, 2, 8),
            randn(4, 2, 8),
            randn(4, 56),
            randn(8),
            randn(8),
            *angles(4, 4),
            3,
            2,
            1e-6,
            True,
        ),
        0,
    ),
    "rope": (
        (randn(4, 3, 8), randn(4, 2, 8), randn(8), randn(8), *angles(2, 4), 1e-6),
        4,
    ),
    "rope_backward": (
        (
            randn(4, 3, 8),
            randn(4, 2, 8),
            randn(4, 3, 8),
            randn(4, 2, 8),
            randn(8),
            randn(8),
            *angles(2, 4),
            1e-6,
            True,
        ),
        0,
    ),
    "swiglu": ((randn(4, 8), randn(4, 8) + 1), 2),
    "swiglu_backward": ((randn(4, 8), randn(4, 8), randn(4, 8) + 1), 0),
    "lora_linear": (
        (randn(4, 8), randn(6, 8), randn(4, 8), randn(6, 2), 0.7, randn(6), [4, 2], 0.0, 0),
        0,
    ),
    "lora_linear_backward": (
        (
            randn(4, 6),
            randn(4, 8),
            randn(4, 4),
            randn(6, 8),
            randn(4, 8),
            randn(6, 2),
            0.7,
            [4, 2],
            0.0,
            0,
            [True, False, True],
        ),
        0,
    ),
    "linear_logprob": ((randn(4, 8), randn(7, 8), TARGET, 0.8), 2),
    "linear_logprob_backward": (
        (*randn(2, 4), randn(4, 8), randn(7, 8), TARGET, *randn(2, 4), 0.8, True),
        0,
    ),
    "linear_cross_entropy": ((randn(4, 8), randn(7, 8), TARGET, randn(4), 0.8, True), 2),
    "rbf_witness": ((randn(4, 8), randn(5, 8), torch.tensor([1.0, 3.0]), False), 1),
    "rbf_witness_backward": (
        (randn(4, 2), randn(4, 8), randn(5, 8), torch.tensor([1.0, 3.0]), False),
        0,
    ),
    "ngram_counts": ((TOKENS, BOUNDS, 2, 9, integers(3)), 0),
    "ngram_distances": ((KEYS, COUNTS, KEYS + 1, COUNTS), 0),
    "ngram_lookup": ((TOKENS, BOUNDS, 2, 9, KEYS, COUNTS.float(), 0.0), 0),
    "causal_attention": ((randn(8, 4, 8), randn(8, 2, 8), randn(8, 2, 8), BOUNDS, None), 3),
    "causal_attention_backward": (
        (
            randn(8, 4, 8),
            randn(8, 4, 8),
            randn(8, 2, 8),
            randn(8, 2, 8),
            BOUNDS,
            None,
            randn(8, 4, 8),
            3 + randn(8, 4).abs(),
        ),
        0,
    ),
    "paged_attention": ((randn(4, 4, 8), *CACHES, TABLE, OFFSETS, LENGTHS, 0.3), 0),
    "store_kv": ((randn(3, 2, 8), randn(3, 2, 8), *CACHES, integers(3, -1, 0)), 0),
    "sample_tokens": ((randn(3, 40), *sampling(3)), 0),
}
TRAINED = {"lora_linear": (0, 2, 3)}
PRODUCTS = ("lora_", "linear_", "rbf_")  # ops whose matrix products are the library's


def test_every_registered_op_is_in_the_table():
    registered = {
        name.removeprefix("dftfast::").split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("dftfast::")
    }
    assert registered == set(OPS)


@pytest.mark.parametrize("op", OPS)
def test_opcheck(op):
    arguments, trained = OPS[op]
    trained = TRAINED.get(op, range(trained))
    leaves = [t.clone().requires_grad_() if i in trained else t for i, t in enumerate(arguments)]
    torch.library.opcheck(getattr(torch.ops.dftfast, op), tuple(leaves))


def far_apart(t: torch.Tensor) -> torch.Tensor:
    """The same values, the last row 2³¹ elements or more from the first.

    Untouched pages take no memory.
    """
    stride = -(-(2**31) // (len(t) - 1))
    wide = torch.empty(stride * (len(t) - 1) + t[0].numel(), dtype=t.dtype)
    return wide.as_strided(t.shape, (stride, *t.stride()[1:])).copy_(t)


@pytest.mark.parametrize("op", [op for op in OPS if op not in ("store_kv", "paged_attention")])
def test_rows_that_lie_far_apart(op):
    """The op's first tensor as a view with such strides."""
    arguments, _ = OPS[op]
    far = [far_apart(arguments[0]), *arguments[1:]]
    function = getattr(torch.ops.dftfast, op)
    flat = lambda result: [result] if torch.is_tensor(result) else result
    tolerance = (
        1e-5 if op.startswith(PRODUCTS) else 0
    )  # a BLAS may sum in another order for another stride
    for a, b in zip(flat(function(*far)), flat(function(*arguments)), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_a_cache_of_more_than_two_to_the_31_elements():
    page, kv_heads, dim = 16, 8, 128
    blocks = 2**31 // (page * kv_heads * dim) + 2
    large = [torch.empty(blocks, page, kv_heads, dim, dtype=torch.bfloat16) for _ in range(2)]
    small = [torch.zeros(2, page, kv_heads, dim, dtype=torch.bfloat16) for _ in range(2)]
    k, v = randn(2, 5, kv_heads, dim).bfloat16()
    q, one = randn(1, 8, dim).bfloat16(), integers(0, 1, dtype=torch.int32)
    results = []
    for caches in (large, small):
        last = len(caches[0]) - 1
        torch.ops.dftfast.store_kv(k, v, *caches, last * page + torch.arange(5))
        assert torch.equal(caches[0][last, :5], k) and torch.equal(caches[1][last, :5], v)
        table, length = integers(last, dtype=torch.int32)[None], integers(5, dtype=torch.int32)
        results.append(torch.ops.dftfast.paged_attention(q, *caches, table, one, length, 0.1))
    assert torch.equal(*results)
