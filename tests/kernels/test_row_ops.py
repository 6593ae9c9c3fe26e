"""The row operators and lora_linear against fp64 autograd of their references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast import kernels
from dftfast.kernels import reference
from dftfast.kernels.reference import lora_linear, qk_norm_rope, rms_norm, swiglu  # noqa: F401

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
REFERENCE = {
    "rms_norm": reference.rms_norm.rms_norm,
    "add_rms_norm": reference.rms_norm.add_rms_norm,
    "qk_norm_rope": reference.qk_norm_rope.qk_norm_rope,
    "swiglu": reference.swiglu.swiglu,
    "swiglu_apart": reference.swiglu.swiglu,
    "rope": reference.qk_norm_rope.rope,
    "lora_linear": reference.lora_linear.lora_linear,
}


def arguments(
    op: str, rows: int, size: int, dtype: torch.dtype, master: torch.dtype = torch.float32
) -> list:
    """Tensors first, of which the floating ones in dtype or master train; then the numbers."""
    g = torch.Generator().manual_seed(rows * 1000 + size)
    draw = lambda *shape: torch.randn(*shape, generator=g).to(dtype)
    if op == "rms_norm":
        return [draw(rows, size), draw(size), 1e-5]
    if op == "add_rms_norm":
        return [draw(rows, size), draw(rows, size), draw(size), 1e-5]
    if op == "swiglu":
        return [draw(rows, 2 * size)]
    if op == "swiglu_apart":
        return [draw(rows, size), draw(rows, size)]
    if op == "rope":
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        angle = torch.rand(rows, size, generator=g).to(wide) * 6
        q, k = draw(2, rows, 3, 2 * size), draw(2, rows, 2, 2 * size)
        return [q, k, angle.cos(), angle.sin(), draw(2 * size), draw(2 * size), 1e-6]
    if op == "qk_norm_rope":
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        angle = torch.rand(rows, size, generator=g).to(wide) * 6
        return [
            draw(rows, 7 * 2 * size),
            draw(2 * size),
            draw(2 * size),
            angle.cos(),
            angle.sin(),
            3,
            2,
            1e-6,
        ]
    splits = [size, 2 * size, 3]
    a, b = draw(3 * 4, size).to(master) / size**0.5, draw(sum(splits), 4).to(master)
    return [
        draw(rows, size),
        draw(sum(splits), size) / size**0.5,
        a,
        b,
        0.7,
        draw(sum(splits)),
        splits,
    ]


PAIRS = {"add_rms_norm": 2, "swiglu_apart": 2, "rope": 2}  # as many rows in both
FROZEN = {"lora_linear": (1, 5), "qk_norm_rope": (3, 4), "rope": (2, 3)}


def ours(op: str):
    return kernels.swiglu if op == "swiglu_apart" else getattr(kernels, op)


def run(function, op: str, inputs: list, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    """Outputs, and gradients for a fixed random cotangent; dtype converts the inputs first."""
    leaves = []
    for i, value in enumerate(inputs):
        if torch.is_tensor(value):
            value = value.to(dtype) if dtype else value.clone()
            value.requires_grad_(i not in FROZEN.get(op, ()))
        leaves.append(value)
    outputs = function(*leaves)
    outputs = [outputs] if torch.is_tensor(outputs) else list(outputs)
    g = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(y.shape, generator=g).bfloat16().to(y.dtype) for y in outputs]
    trained = [t for t in leaves if torch.is_tensor(t) and t.requires_grad]
    gradients = torch.autograd.grad(outputs, trained, cotangents)
    return [*outputs, *gradients]


def compare(op: str, inputs: list, mutated: int | None = None) -> int:
    """Compare with the oracle, one gradient off by 1 % where `mutated` numbers it.

    Returns how many gradients there are.
    """
    exact = run(REFERENCE[op], op, inputs, torch.float64)
    plain = run(REFERENCE[op], op, inputs)
    actuals = run(ours(op), op, inputs)
    outputs = len(actuals) - sum(torch.is_tensor(t) for t in inputs) + len(FROZEN.get(op, ()))
    for i, (actual, oracle, torchs) in enumerate(zip(actuals, exact, plain)):
        assert actual.dtype == torchs.dtype
        assert_close(
            op, inputs[0].dtype, 1.01 * actual if i - outputs == mutated else actual, oracle, torchs
        )
    return len(actuals) - outputs


@pytest.mark.parametrize("op", REFERENCE)
@settings(max_examples=25, deadline=None)
# From 2 columns on: of one column the norm is ±1 whatever the input, and its gradient rounding and
# nothing else.
@given(st.integers(1, 70), st.integers(2, 75), st.sampled_from(DTYPES))
def test_oracle(op, rows, size, dtype):
    compare(op, arguments(op, rows, size, dtype))


@pytest.mark.parametrize("op", REFERENCE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_oracle_many_rows_on_threads_and_mutation(op, dtype):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for gradient in range(compare(op, arguments(op, 301, 64, dtype))):
            with pytest.raises(AssertionError, match="exceeds"):
                compare(op, arguments(op, 301, 64, dtype), mutated=gradient)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("op", REFERENCE)
def test_empty_and_non_contiguous(op):
    inputs = arguments(op, 5, 16, torch.float32)
    expected = run(ours(op), op, inputs)
    strided = [t.t().contiguous().t() if torch.is_tensor(t) and t.dim() == 2 else t for t in inputs]
    for a, b in zip(run(ours(op), op, strided), expected):
        assert torch.allclose(a, b, atol=1e-5)
    empty = [
        t[:0] if i < PAIRS.get(op, 1) or (i in (3, 4) and op == "qk_norm_rope") else t
        for i, t in enumerate(inputs)
    ]
    results = run(ours(op), op, empty)
    assert results[0].shape[0] == 0 and all(not t.any() for t in results)


@pytest.mark.parametrize(
    "op", ["rms_norm", "swiglu", "swiglu_apart", "qk_norm_rope", "lora_linear"]
)
def test_special_infinities_and_nan_stay_in_their_row(op):
    inputs = arguments(op, 4, 16, torch.float32)
    clean = ours(op)(*inputs)
    inputs[0][1, 0], inputs[0][2, 3] = torch.nan, torch.inf
    dirty = ours(op)(*inputs)
    expected = REFERENCE[op](*inputs)
    first = lambda y: y if torch.is_tensor(y) else y[0]
    clean, dirty, expected = map(first, (clean, dirty, expected))
    assert torch.equal(dirty[[0, 3]], clean[[0, 3]])
    assert torch.equal(dirty.isnan(), expected.isnan())


@pytest.mark.parametrize("op", REFERENCE)
def test_reference_gradcheck(op):
    inputs = arguments(op, 3, 4, torch.float64, torch.float64)
    for i, t in enumerate(inputs):
        if torch.is_tensor(t) and i not in FROZEN.get(op, ()):
            t.requires_grad_()
    assert torch.autograd.gradcheck(REFERENCE[op], inputs)


@pytest.mark.parametrize("op", REFERENCE)
def test_compiles_without_graph_breaks(op):
    inputs = arguments(op, 5, 8, torch.float32)
    function = ours(op)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for a, b in zip(run(compiled, op, inputs), run(function, op, inputs)):
        assert torch.equal(a, b)


def test_no_qk_norm():
    qkv, _, _, *rest = arguments("qk_norm_rope", 6, 16, torch.float32)
    leaf = qkv.clone().requires_grad_()
    results, expected = (
        f(leaf, None, None, *rest) for f in (kernels.qk_norm_rope, REFERENCE["qk_norm_rope"])
    )
    for a, b in zip(results, expected):
        assert torch.allclose(a, b, atol=1e-6)
        gradients = [
            torch.autograd.grad(y.square().sum(), leaf, retain_graph=True)[0] for y in (a, b)
        ]
        assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.parametrize("op", ["rms_norm", "add_rms_norm", "qk_norm_rope"])
def test_frozen_weights_get_no_gradient_and_change_none(op):
    inputs = arguments(op, 6, 16, torch.float32)
    x = inputs[0].clone().requires_grad_()
    outputs = ours(op)(x, *inputs[1:])
    outputs = [outputs] if torch.is_tensor(outputs) else outputs
    (gradient,) = torch.autograd.grad(
        outputs, x, [torch.ones_like(y) for y in outputs], retain_graph=True
    )
    trained = [
        t.clone().requires_grad_() if torch.is_tensor(t) and t.dim() == 1 else t for t in inputs[1:]
    ]
    outputs = ours(op)(x, *trained)
    outputs = [outputs] if torch.is_tensor(outputs) else outputs
    (expected,) = torch.autograd.grad(outputs, x, [torch.ones_like(y) for y in outputs])
    assert torch.equal(gradient, expected)
    saved = [t.detach() if torch.is_tensor(t) else t for t in (inputs[0], *inputs[1:])]
    backward = getattr(torch.ops.dftfast, f"{op}_backward")
    ups = [torch.ones_like(y) for y in outputs]
    assert (
        len(
            backward(
                *ups,
                *saved[:1] if op != "add_rms_norm" else [outputs[1].detach()],
                *saved[2 if op == "add_rms_norm" else 1 :],
                False,
            )
        )
        == 1
    )


def test_lora_gradients_only_where_needed():
    x, weight, a, b, scale, bias, splits = arguments("lora_linear", 6, 8, torch.float32)
    a.requires_grad_()
    kernels.lora_linear(x, weight, a, b, scale, bias, splits).sum().backward()
    assert a.grad is not None and x.grad is None and b.grad is None


def test_lora_dropout():
    x, weight, a, b, scale, bias, splits = arguments("lora_linear", 200, 64, torch.float32)
    call = lambda x, a, b, seed: kernels.lora_linear(
        x, weight, a, b, scale, bias, splits, 0.3, seed
    )
    assert torch.equal(call(x, a, b, 5), call(x, a, b, 5)) and not torch.equal(
        call(x, a, b, 5), call(x, a, b, 6)
    )
    # The mask, read off with weight 0 and a, b the identity; then the op against plain torch with
    # that mask.
    one = torch.eye(64)
    factor = kernels.lora_linear(
        torch.ones(200, 64), torch.zeros(64, 64), one, one, 1.0, dropout=0.3, seed=5
    )
    assert set(factor.unique().tolist()) == {
        0.0,
        factor.max().item(),
    } and factor.max().item() == pytest.approx(1 / 0.7)
    assert (factor == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    leaves = [t.clone().requires_grad_() for t in (x, a, b)]
    u = ((leaves[0] * factor) @ leaves[1].t()).split(4, -1)
    low = torch.cat([ui @ bi.t() for ui, bi in zip(u, leaves[2].split(splits))], -1)
    expected = torch.nn.functional.linear(leaves[0], weight, bias) + scale * low
    cotangent = torch.randn(expected.shape)
    mine = [t.clone().requires_grad_() for t in (x, a, b)]
    y = call(*mine, 5)
    assert torch.allclose(y, expected, atol=1e-4)
    for g, h in zip(
        torch.autograd.grad(y, mine, cotangent), torch.autograd.grad(expected, leaves, cotangent)
    ):
        assert torch.allclose(g, h, atol=1e-3)


def test_bad_input_is_refused():
    x, w = torch.randn(3, 8), torch.randn(8)
    with pytest.raises(ValueError, match="weight"):
        kernels.rms_norm(x, w[:7], 1e-5)
    with pytest.raises(TypeError, match="float64"):
        kernels.rms_norm(x.double(), w, 1e-5)
    with pytest.raises(ValueError, match="residual"):
        kernels.add_rms_norm(x, x[:2], w, 1e-5)
    with pytest.raises(ValueError, match="2F"):
        kernels.swiglu(x[:, :7])
    with pytest.raises(ValueError, match="cos"):
        kernels.qk_norm_rope(
            torch.randn(3, 56), None, None, torch.zeros(3, 3), torch.zeros(3, 3), 3, 2, 1e-6
        )
    with pytest.raises(ValueError, match="splits"):
        kernels.lora_linear(
            x, torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 2), 1.0, splits=[1, 2]
        )
    with pytest.raises(ValueError, match="frozen"):
        kernels.lora_linear(
            x, torch.randn(4, 8, requires_grad=True), torch.randn(2, 8), torch.randn(4, 2), 1.0
        )
