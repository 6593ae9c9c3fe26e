"""The loss by labels against torch's cross_entropy on all logits, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.kernels import _causal_lm_loss, causal_lm_loss
from dftfast.kernels.modules import CausalLMLoss


def inputs(batch: int, tokens: int, vocab: int, dtype=torch.float32):
    g = torch.Generator().manual_seed(batch + tokens + vocab)
    hidden = torch.randn(batch, tokens, 12, generator=g).to(dtype)
    weight = torch.randn(vocab, 12, generator=g).to(dtype)
    labels = torch.randint(vocab, (batch, tokens), generator=g)
    labels[torch.rand(batch, tokens, generator=g) < 0.3] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), labels


def oracle(hidden, weight, labels, reduction, smoothing, softcap):
    logits = hidden.double() @ weight.double().t()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    target = F.pad(labels[:, 1:], (0, 1), value=-100)
    loss = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), reduction=reduction, label_smoothing=smoothing
    )
    return loss.view(labels.shape) if reduction == "none" else loss


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(2, 9),
    st.integers(2, 40),
    st.sampled_from(["mean", "sum", "none"]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([None, 2.0, 30.0]),
)
def test_oracle(batch, tokens, vocab, reduction, smoothing, softcap):
    hidden, weight, labels = inputs(batch, tokens, vocab)
    labels[0, 1] = 0  # one at least is scored
    options = {"reduction": reduction, "label_smoothing": smoothing, "softcap": softcap}
    loss = causal_lm_loss(hidden, weight, labels, **options)
    expected = oracle(hidden, weight, labels, reduction, smoothing, softcap)
    torch.testing.assert_close(loss.double(), expected, rtol=2e-5, atol=2e-5)
    pull = torch.randn(loss.shape, dtype=torch.float64)
    found = torch.autograd.grad((loss.double() * pull).sum(), (hidden, weight))
    exact = torch.autograd.grad((expected * pull).sum(), (hidden, weight))
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_soft_cap_in_blocks_of_tokens(monkeypatch):
    hidden, weight, labels = inputs(2, 30, 50)
    whole = causal_lm_loss(hidden, weight, labels, softcap=5.0)
    monkeypatch.setattr(_causal_lm_loss, "BLOCK", 120)
    torch.testing.assert_close(causal_lm_loss(hidden, weight, labels, softcap=5.0), whole)


def test_bfloat16_and_the_number_of_a_trainer():
    hidden, weight, labels = inputs(3, 20, 64, torch.bfloat16)
    exact = oracle(hidden, weight, labels, "sum", 0.0, None) / 7
    loss = causal_lm_loss(hidden, weight, labels, num_items_in_batch=torch.tensor(7))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("shape", [(2, 5), (2, 0), (0, 5)])
def test_nothing_to_score_is_zero(shape):
    hidden = torch.randn(*shape, 12, requires_grad=True)
    weight = torch.randn(9, 12, requires_grad=True)
    labels = torch.full(shape, -100)
    for softcap in (None, 3.0):
        loss = causal_lm_loss(hidden, weight, labels, softcap=softcap)
        assert loss == 0
        assert not any(g.any() for g in torch.autograd.grad(loss, (hidden, weight)))
    assert causal_lm_loss(hidden, weight, labels, reduction="none").shape == shape


def test_shifted_labels_and_the_module():
    hidden, weight, labels = inputs(2, 8, 30)
    shifted = F.pad(labels[:, 1:], (0, 1), value=-100)
    loss = causal_lm_loss(hidden, weight, labels)
    assert torch.equal(causal_lm_loss(hidden, weight, None, shift_labels=shifted), loss)
    assert torch.equal(CausalLMLoss()(hidden, weight, labels), loss)
    smooth = CausalLMLoss(label_smoothing=0.2)(hidden, weight, labels)
    assert torch.equal(smooth, causal_lm_loss(hidden, weight, labels, label_smoothing=0.2))


def test_bad_input_is_refused():
    hidden, weight, labels = inputs(2, 8, 30)
    for wrong, message in (
        ({"labels": labels[:, :3]}, "labels"),
        ({"labels": None}, "labels or shift_labels"),
        ({"reduction": "max"}, "reduction"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"softcap": 0.0}, "softcap"),
        ({"labels": labels.clamp(min=0) + 30}, "outside the vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            causal_lm_loss(**{"hidden": hidden, "weight": weight, "labels": labels, **wrong})
