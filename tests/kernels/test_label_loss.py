"""The loss by labels in every dtype beside its definition, and transformers' ForCausalLMLoss."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from tolerance import assert_close
from transformers.loss.loss_utils import ForCausalLMLoss

from dftfast.kernels import causal_lm_loss
from dftfast.kernels.modules import CausalLMLoss

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
OPTIONS = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"num_items_in_batch": 37},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.3, "reduction": "none"},
    {"softcap": 3.0},
    {"softcap": 3.0, "label_smoothing": 0.2, "reduction": "sum"},
]


def inputs(dtype, batch=3, tokens=7, vocab=41, d=16):
    g = torch.Generator().manual_seed(batch + tokens)
    hidden = torch.randn(batch, tokens, d, generator=g).to(dtype)
    weight = (2 * torch.randn(vocab, d, generator=g) / d**0.5).to(dtype)
    labels = torch.randint(vocab, (batch, tokens), generator=g)
    labels[torch.rand(batch, tokens, generator=g) < 0.3] = -100
    return hidden, weight, labels


def formula(hidden, weight, labels, **options):
    """From the definition, with all logits."""
    z = hidden @ weight.t()
    z = z if z.dtype == torch.float64 else z.float()
    if (cap := options.get("softcap")) is not None:
        z = cap * torch.tanh(z / cap)
    logp = z - z.logsumexp(-1, keepdim=True)
    target = F.pad(labels[:, 1:], (0, 1), value=-100)
    own = logp.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    smoothing = options.get("label_smoothing", 0.0)
    losses = -((1 - smoothing) * own + smoothing * logp.mean(-1)) * (target != -100)
    if options.get("reduction") == "none":
        return losses
    count = (target != -100).sum() if options.get("reduction", "mean") == "mean" else 1
    return losses.sum() / options.get("num_items_in_batch", count)


def run(function, hidden, weight, labels, dtype=None, **options):
    hidden, weight = (t.to(dtype or t.dtype).clone().requires_grad_() for t in (hidden, weight))
    loss = function(hidden, weight, labels, **options)
    up = torch.linspace(0.5, 1.5, loss.numel(), dtype=loss.dtype).view(loss.shape)
    return [loss, *torch.autograd.grad(loss, (hidden, weight), up)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_oracle(dtype, options, monkeypatch):
    monkeypatch.setattr(sys.modules["dftfast.kernels._causal_lm_loss"], "BLOCK", 200)
    arguments = inputs(dtype)
    exact = run(formula, *arguments, torch.float64, **options)
    plain, actual = run(formula, *arguments, **options), run(causal_lm_loss, *arguments, **options)
    assert actual[0].dtype == torch.float32
    for a, e, p in zip(actual, exact, plain, strict=True):
        assert_close("linear_cross_entropy", dtype, a, e, p)
    wrong = [1.01 * g for g in actual]
    for a, e, p in zip(wrong, exact, plain, strict=True):
        with pytest.raises(AssertionError, match="exceeds"):
            assert_close("linear_cross_entropy", dtype, a, e, p)


@pytest.mark.parametrize("count", [None, 11, torch.tensor(23)])
def test_it_is_transformers_loss(count):
    hidden, weight, labels = inputs(torch.float32)
    logits = hidden @ weight.t()
    expected = ForCausalLMLoss(logits, labels, len(weight), num_items_in_batch=count)
    loss = CausalLMLoss()(hidden, weight, labels, num_items_in_batch=count)
    torch.testing.assert_close(loss, expected)
    shifted = F.pad(labels[:, 1:], (0, 1), value=-100)
    again = CausalLMLoss()(hidden, weight, None, count, shift_labels=shifted)
    assert torch.equal(again, loss)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compiles_without_graph_breaks(options):
    arguments = inputs(torch.float32)
    compiled = torch.compile(causal_lm_loss, fullgraph=True, backend="aot_eager")
    results = [run(f, *arguments, **options) for f in (compiled, causal_lm_loss)]
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_no_block_is_larger_than_its_budget(monkeypatch):
    """With a softcap the logits are made in blocks; without one, in the head's."""
    made = []
    module = sys.modules["dftfast.kernels._causal_lm_loss"]
    monkeypatch.setattr(module, "BLOCK", 4 * 41)
    tanh = torch.tanh
    monkeypatch.setattr(torch, "tanh", lambda z: made.append(z.numel()) or tanh(z))
    hidden, weight, labels = inputs(torch.float32, 2, 20)
    run(causal_lm_loss, hidden, weight, labels, softcap=5.0)
    scored = int((labels[:, 1:] != -100).sum())
    assert max(made) == 4 * 41 and sum(made) == 2 * scored * 41  # forward, and again in backward


def test_autocast_and_a_frozen_head():
    hidden, weight, labels = inputs(torch.float32)
    leaf = hidden.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = causal_lm_loss(leaf, weight, labels, label_smoothing=0.1)
    low = causal_lm_loss(hidden.bfloat16(), weight.bfloat16(), labels, label_smoothing=0.1)
    assert torch.equal(loss, low)
    loss.backward()
    assert leaf.grad.dtype == torch.float32 and leaf.grad.any() and weight.grad is None
