from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton import linear_logprob as op

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def formula(h, weight, target, temperature, grads, dtype):
    """(logprob, entropy, dh, dweight) with the logits in fp32 or better."""
    h, weight = (t.detach().to(dtype).requires_grad_() for t in (h, weight))
    logits = (h @ weight.t()).to(torch.promote_types(dtype, torch.float32)) / temperature
    logp = logits.log_softmax(-1)
    logprob, entropy = logp.gather(1, target[:, None])[:, 0], -(logp.exp() * logp).sum(-1)
    out = logprob, entropy
    return *out, *torch.autograd.grad(out, [h, weight], [g.to(logits.dtype) for g in grads])


def inputs(T, V, d, dtype, device):
    h = torch.randn(T, d, device=device).to(dtype)
    weight = (torch.randn(V, d, device=device) * 2 / d**0.5).to(dtype)
    target = torch.randint(0, V, (T,), device=device)
    return h, weight, target, torch.randn(2, T, device=device)


@pytest.fixture
def small_blocks(monkeypatch):
    """Rows of several blocks, chunks of 16 tokens."""
    monkeypatch.setattr(op, "TILE", dict(BLOCK=128, num_warps=1))
    monkeypatch.setattr(op, "LOGITS_BYTES", 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "T,V,d,temperature",
    [(1, 1, 1, 1.0), (3, 300, 40, 0.7), (40, 517, 65, 1.3), (17, 128, 8, 1.0), (16, 385, 8, 1.0)],
)
def test_forward_and_backward(check, device, small_blocks, dtype, T, V, d, temperature):
    h, weight, target, grads = inputs(T, V, d, dtype, device)
    target[-1] = V - 1
    logprob, entropy, lse = op.linear_logprob_forward(h, weight, target, temperature)
    back = op.linear_logprob_backward(*grads, h, weight, target, lse, entropy, temperature, True)
    arguments = (h, weight, target, temperature, grads)
    if V == 1:  # everything is exactly zero, there is no relative error
        for value in (logprob, entropy, *back):
            torch.testing.assert_close(
                value.float(), torch.zeros_like(value.float()), atol=1e-6, rtol=0
            )
        return
    check(
        (logprob, entropy, *back),
        formula(*arguments, torch.float64),
        formula(*arguments, dtype),
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("T,V", [(40, 300), (7, 90)])
def test_cross_entropy(check, device, small_blocks, dtype, T, V):
    h, weight, target, _ = inputs(T, V, 33, dtype, device)
    token_weight = torch.rand(T, device=device)
    grads = -token_weight, torch.zeros_like(token_weight)
    exact, plain = (formula(h, weight, target, 1.0, grads, t) for t in (torch.float64, dtype))
    loss, logprob, dh, dweight = op.linear_cross_entropy_forward(
        h, weight, target, token_weight, 1.0, True
    )
    check((logprob, dh, dweight), (exact[0], *exact[2:]), (plain[0], *plain[2:]), dtype)
    torch.testing.assert_close(
        loss.double(), -(token_weight.double() * exact[0]).sum(), rtol=1e-3, atol=0
    )
    assert op.linear_cross_entropy_forward(h, weight, target, token_weight, 1.0, False)[3] is None


def test_the_size_of_a_chunk_changes_nothing(device, monkeypatch):
    h, weight, target, grads = inputs(40, 200, 16, torch.float32, device)

    def results():
        logprob, entropy, lse = op.linear_logprob_forward(h, weight, target, 0.9)
        back = op.linear_logprob_backward(*grads, h, weight, target, lse, entropy, 0.9, True)
        loss = op.linear_cross_entropy_forward(h, weight, target, grads[0], 0.9, True)
        return logprob, entropy, lse, *back, *loss

    whole = results()
    monkeypatch.setattr(op, "LOGITS_BYTES", 1)
    torch.testing.assert_close(results(), whole)


def test_no_tokens(device):
    h, weight = torch.empty(0, 8, device=device), torch.randn(5, 8, device=device)
    target = torch.empty(0, dtype=torch.int64, device=device)
    logprob, entropy, lse = op.linear_logprob_forward(h, weight, target, 1.0)
    assert logprob.shape == entropy.shape == (0,)
    dh, dweight = op.linear_logprob_backward(
        logprob, entropy, h, weight, target, lse, entropy, 1.0, True
    )
    assert dh.shape == (0, 8) and dweight.shape == (5, 8) and not dweight.any()
    loss, _, dh, dweight = op.linear_cross_entropy_forward(h, weight, target, logprob, 1.0, True)
    assert loss == 0 and dh.shape == (0, 8) and not dweight.any()


def test_extreme_logits(device):
    h = torch.tensor([[1.0], [0.0]], device=device)
    weight = torch.tensor([[80.0], [-80.0], [0.0]], device=device)
    logprob, entropy, _ = op.linear_logprob_forward(
        h, weight, torch.tensor([1, 0], device=device), 0.5
    )
    log3 = torch.tensor(3.0).log().item()
    assert logprob.tolist() == pytest.approx([-320.0, -log3])
    assert entropy.tolist() == pytest.approx([0.0, log3], abs=1e-6)


def test_a_logit_of_minus_infinity_has_no_probability(device):
    h = torch.full((2, 1), 200.0, dtype=torch.float16, device=device)
    weight = torch.tensor([[0.0], [0.01], [-400.0]], dtype=torch.float16, device=device)
    target = torch.tensor([1, 2], device=device)
    logprob, entropy, lse = op.linear_logprob_forward(h, weight, target, 1.0)
    of_two = torch.tensor([0.0, 200 * weight[1].item()]).log_softmax(0)
    assert logprob.tolist() == pytest.approx([of_two[1].item(), -float("inf")], rel=1e-3)
    expected = -(of_two.exp() * of_two).sum().item()
    assert entropy.tolist() == pytest.approx([expected] * 2, rel=1e-3)
    one = torch.ones(2, device=device)
    grads = op.linear_logprob_backward(one, one, h, weight, target, lse, entropy, 1.0, True)
    assert all(grad.isfinite().all() for grad in grads)
    nothing_allowed = torch.full_like(weight, -400.0)
    for figure in op.linear_logprob_forward(h, nothing_allowed, target, 1.0)[:2]:
        assert figure.isnan().all()


def test_nan_stays_in_its_row(device):
    h = torch.randn(3, 4, device=device)
    h[1, 2] = float("nan")
    weight, target = (
        torch.randn(6, 4, device=device),
        torch.zeros(3, dtype=torch.int64, device=device),
    )
    for value in op.linear_logprob_forward(h, weight, target, 1.0):
        assert value[1].isnan() and value[[0, 2]].isfinite().all()


def test_a_target_outside_the_vocabulary_gives_nan(device):
    h, weight = torch.randn(3, 4, device=device), torch.randn(6, 4, device=device)
    target = torch.tensor([-100, 6, 5], device=device)
    logprob, entropy, _ = op.linear_logprob_forward(h, weight, target, 1.0)
    assert logprob.isnan().tolist() == [True, True, False] and entropy.isfinite().all()
    loss, again, _, _ = op.linear_cross_entropy_forward(h, weight, target, entropy, 1.0, False)
    assert loss.isnan() and torch.equal(again.isnan(), logprob.isnan())
