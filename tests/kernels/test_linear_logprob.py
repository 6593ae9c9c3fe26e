from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from dftfast.kernels import linear_cross_entropy, linear_logprob
from dftfast.kernels.reference import linear_logprob as reference

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def head(tokens, vocab, d, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(tokens, d, generator=generator)
    weight = 2 * torch.randn(vocab, d, generator=generator) / d**0.5
    target = torch.randint(vocab, (tokens,), generator=generator)
    cotangents = torch.randn(2, tokens, generator=generator)
    return h.to(dtype), weight.to(dtype), target, cotangents


def oracle(h, weight, target, temperature, cotangents):
    """Values and gradients in fp64 NumPy, from the formulas."""
    h, weight, (by_logprob, by_entropy) = (
        h.double().numpy(),
        weight.double().numpy(),
        cotangents.double().numpy(),
    )
    z = h @ weight.T / temperature
    z = z - z.max(1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(1, keepdims=True))
    p = np.exp(logp)
    entropy = -(p * logp).sum(1)
    g = -p * (by_logprob[:, None] + by_entropy[:, None] * (logp + entropy[:, None]))
    rows = np.arange(len(h))
    g[rows, target.numpy()] += by_logprob
    g /= temperature
    return [torch.from_numpy(a) for a in (logp[rows, target.numpy()], entropy, g @ weight, g.T @ h)]


def run_logprob(function, h, weight, target, temperature, cotangents):
    h, weight = h.clone().requires_grad_(), weight.clone().requires_grad_()
    logprob, entropy = function(h, weight, target, temperature)
    torch.autograd.backward([logprob, entropy], list(cotangents))
    return [logprob, entropy, h.grad, weight.grad]


def compare_logprob(h, weight, target, cotangents, temperature, mutated=None):
    arguments = h, weight, target, temperature, cotangents
    actual, plain = (
        run_logprob(linear_logprob, *arguments),
        run_logprob(reference.linear_logprob, *arguments),
    )
    for i, (a, o, p) in enumerate(zip(actual, oracle(*arguments), plain)):
        assert_close("linear_logprob", h.dtype, 1.01 * a if i == mutated else a, o, p)


def run_cross_entropy(function, h, weight, target, token_weight, temperature):
    h, weight = h.clone().requires_grad_(), weight.clone().requires_grad_()
    loss, logprob = function(h, weight, target, token_weight, temperature)
    (2 * loss).backward()
    return [loss, logprob, h.grad, weight.grad]


def compare_cross_entropy(h, weight, target, cotangents, temperature, mutated=None):
    arguments = h, weight, target, cotangents[0], temperature
    actual = run_cross_entropy(linear_cross_entropy, *arguments)
    plain = run_cross_entropy(reference.linear_cross_entropy, *arguments)
    gradients = torch.stack([-2 * cotangents[0], torch.zeros_like(cotangents[1])])
    logprob, _, grad_h, grad_weight = oracle(h, weight, target, temperature, gradients)
    terms = -cotangents[0].double() * logprob
    # Weights of both signs cancel in the loss: rounding is judged beside what it adds up.
    whole = terms.abs().sum()
    actual[0], plain[0] = actual[0].double() + whole, plain[0].double() + whole
    expected = [terms.sum() + whole, logprob, grad_h, grad_weight]
    for i, (a, o, p) in enumerate(zip(actual, expected, plain)):
        assert_close("linear_cross_entropy", h.dtype, 1.01 * a if i == mutated else a, o, p)


# From 4 tokens of 8 words on: where every row is saturated the gradient is a small difference
# without a scale.
SHAPES = (
    st.integers(4, 12),
    st.integers(8, 90),
    st.integers(1, 20),
    st.sampled_from(DTYPES),
    st.sampled_from([0.7, 1.0]),
)


@settings(max_examples=60, deadline=None)
@given(*SHAPES)
def test_oracle_logprob(tokens, vocab, d, dtype, temperature):
    compare_logprob(*head(tokens, vocab, d, dtype), temperature)


@settings(max_examples=60, deadline=None)
@given(*SHAPES)
def test_oracle_cross_entropy(tokens, vocab, d, dtype, temperature):
    compare_cross_entropy(*head(tokens, vocab, d, dtype), temperature)


@pytest.mark.parametrize("dtype", DTYPES)
def test_oracle_over_several_blocks_of_an_odd_vocabulary(dtype, monkeypatch):
    for limit in ("BLOCK_BYTES", "BLOCK_TOKENS"):
        monkeypatch.setattr(sys.modules["dftfast.kernels.cpu_head"], limit, 7)
    compare_logprob(*head(50, 9001, 24, dtype), 1.3)
    compare_cross_entropy(*head(50, 9001, 24, dtype), 1.3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compare", [compare_logprob, compare_cross_entropy])
def test_a_gradient_off_by_one_percent_fails(compare, dtype):
    arguments = *head(40, 300, 32, dtype), 1.0
    compare(*arguments)
    for gradient in (2, 3):
        with pytest.raises(AssertionError, match="exceeds"):
            compare(*arguments, mutated=gradient)


def test_a_frozen_head_gets_no_gradient_and_no_grad_mode_no_graph():
    h, weight, target, _ = head(5, 30, 8, torch.float32)
    leaf = h.clone().requires_grad_()
    loss, logprob = linear_cross_entropy(leaf, weight, target, torch.full((5,), 0.2))
    assert loss.requires_grad and not logprob.requires_grad
    loss.backward()
    assert weight.grad is None and leaf.grad.any()
    with torch.no_grad():
        assert not linear_cross_entropy(leaf, weight, target, torch.full((5,), 0.2))[
            0
        ].requires_grad


def test_an_adapter_on_the_head_is_trained_through_its_effective_weight():
    h, weight, target, _ = head(6, 30, 8, torch.float32)
    a, b = torch.randn(2, 8).requires_grad_(), torch.randn(30, 2).requires_grad_()
    expected = torch.autograd.grad(
        reference.linear_logprob(h, weight + b @ a, target)[0].sum(), (a, b)
    )
    actual = torch.autograd.grad(linear_logprob(h, weight + b @ a, target)[0].sum(), (a, b))
    for left, right in zip(actual, expected):
        assert torch.allclose(left, right, rtol=1e-4, atol=1e-5)


def test_only_the_entropy_is_differentiated():
    h, weight, target, cotangents = head(6, 30, 8, torch.float32)
    cotangents[0] = 0
    leaf = h.clone().requires_grad_()
    linear_logprob(leaf, weight, target)[1].backward(cotangents[1])
    expected = oracle(h, weight, target, 1.0, cotangents)[2]
    assert torch.allclose(leaf.grad.double(), expected, rtol=1e-4, atol=1e-6)


def test_special_infinities_and_nan():
    h, weight = torch.eye(3), torch.randn(20, 3)
    weight[4, 0], weight[5, 1], weight[6, 2] = -torch.inf, torch.inf, torch.nan
    h = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    weight[:, 1:][weight[:, 0].isinf()] = 0
    logits = h[:1, :1] @ weight[:, :1].t()
    logprob, entropy = linear_logprob(h[:1, :1], weight[:, :1], torch.tensor([4]))
    p = torch.softmax(logits.double(), -1)
    assert logprob.item() == -torch.inf
    assert entropy.item() == pytest.approx(torch.special.entr(p).sum().item(), rel=1e-5)
    assert linear_logprob(h[1:2, 1:2], weight[:, 1:2], torch.tensor([1]))[0].isnan().all()
    assert linear_logprob(h[2:, 2:], weight[:, 2:], torch.tensor([1]))[0].isnan().all()


def test_special_huge_logits_do_not_overflow():
    h = torch.tensor([[300.0], [-300.0]])
    weight = torch.linspace(-1, 1, 33)[:, None]
    logprob, entropy = linear_logprob(h, weight, torch.tensor([32, 32]))
    assert logprob.tolist() == pytest.approx([0.0, -600.0], abs=1e-4)
    assert entropy.tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


def test_empty_one_row_and_non_contiguous():
    h, weight, target, cotangents = head(4, 30, 8, torch.float32)
    one_word = run_logprob(
        linear_logprob, h[:1], weight[:1], torch.tensor([0]), 1.0, cotangents[:, :1]
    )
    assert all(torch.allclose(result, torch.zeros(()), atol=1e-5) for result in one_word)
    for actual, expected in zip(
        run_logprob(linear_logprob, h[:1], weight, target[:1], 1.0, cotangents[:, :1]),
        oracle(h[:1], weight, target[:1], 1.0, cotangents[:, :1]),
    ):
        assert torch.allclose(actual.double(), expected, rtol=1e-4, atol=1e-5)
    assert [o.shape for o in linear_logprob(h[:0], weight, target[:0])] == [(0,), (0,)]
    leaf = h[:0].clone().requires_grad_()
    loss, _ = linear_cross_entropy(leaf, weight, target[:0], torch.empty(0))
    loss.backward()
    assert loss.item() == 0 and leaf.grad.shape == (0, 8)
    expected = linear_logprob(h, weight, target)
    strided = linear_logprob(
        h.t().contiguous().t(), weight.t().contiguous().t(), target.repeat_interleave(2)[::2]
    )
    for left, right in zip(strided, expected):
        assert torch.allclose(left, right)
    leaf = h.clone().requires_grad_()
    linear_logprob(leaf, weight, target)[0][::2].sum().backward()
    assert not leaf.grad[1::2].any() and leaf.grad[::2].any()


def test_bad_input_is_refused():
    h, weight, target, _ = head(4, 30, 8, torch.float32)
    bad = target.clone()
    bad[2] = 30
    with pytest.raises(ValueError, match="target 30 at position 2"):
        linear_logprob(h, weight, bad)
    bad[2] = -100
    with pytest.raises(ValueError, match=r"target -100 at position 2.*token_weight of 0"):
        linear_cross_entropy(h.requires_grad_(), weight, bad, torch.ones(4))
    with pytest.raises(ValueError, match="temperature"):
        linear_logprob(h, weight, target, 0.0)
    with pytest.raises(TypeError, match="bfloat16"):
        linear_logprob(h, weight.bfloat16(), target)
    with pytest.raises(ValueError, match="token_weight"):
        linear_cross_entropy(h, weight, target, torch.ones(3))


def test_reference_gradcheck():
    h, weight, target, cotangents = head(3, 7, 4, torch.float64)
    h, weight = h.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: reference.linear_logprob(h, w, target, 0.8), (h, weight)
    )
    assert torch.autograd.gradcheck(
        lambda h, w: reference.linear_cross_entropy(h, w, target, cotangents[0].double(), 0.8)[0],
        (h, weight),
    )


def test_compiles_without_graph_breaks():
    h, weight, target, cotangents = head(5, 30, 8, torch.float32)

    def step(h):
        logprob, entropy = linear_logprob(h * 2, weight, target)
        return (
            linear_cross_entropy(h, weight, target, cotangents[0])[0]
            + logprob.sum()
            + entropy.sum()
        )

    first, second = h.clone().requires_grad_(), h.clone().requires_grad_()
    torch.compile(step, fullgraph=True, backend="aot_eager")(first).backward()
    step(second).backward()
    assert torch.allclose(first.grad, second.grad)
