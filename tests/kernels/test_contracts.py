"""What every op promises beside its numbers: gradients' memory, derivatives refused, autocast."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as forward_mode
from test_every_op import OPS, TRAINED

import dftfast.kernels as kernels
from dftfast.kernels import (
    add_rms_norm,
    causal_attention,
    linear_cross_entropy,
    linear_logprob,
    lora_linear,
    pack_weight,
    packed_linear,
    sample_tokens,
)

DIFFERENTIABLE = {
    op: TRAINED.get(op, range(trained))
    for op, (_, trained) in OPS.items()
    if trained or op in TRAINED
}


def leaves(op: str) -> list:
    arguments, _ = OPS[op]
    return [
        a.clone().requires_grad_() if i in DIFFERENTIABLE[op] else a
        for i, a in enumerate(arguments)
    ]


def first(output) -> torch.Tensor:
    return output if torch.is_tensor(output) else output[0]


def entries(op: str):
    """The registered op, and the same through the eager path."""
    module = "_causal_attention" if op == "causal_attention" else f"_{op}"
    module = {"add_rms_norm": "_rms_norm", "linear_cross_entropy": "_linear_logprob"}.get(
        op, module
    )
    eager = getattr(__import__(f"dftfast.kernels.{module}", fromlist=["_"]), f"_{op}")
    return {"registered": getattr(torch.ops.dftfast, op), "eager": eager}


@pytest.mark.parametrize("path", ["registered", "eager"])
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_second_derivative_is_refused(op, path):
    given = leaves(op)
    wanted = [given[i] for i in DIFFERENTIABLE[op]]
    output = first(entries(op)[path](*given)).sum()
    with pytest.raises(RuntimeError, match=f"{op} has no second derivative"):
        torch.autograd.grad(output, wanted, create_graph=True)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_forward_mode_derivative_is_refused(op):
    arguments, _ = OPS[op]
    eager = entries(op)["eager"]
    i = DIFFERENTIABLE[op][0]
    with forward_mode.dual_level():
        given = list(arguments)
        given[i] = forward_mode.make_dual(given[i], torch.ones_like(given[i]))
        with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
            eager(*given)
    alone = lambda x: first(eager(*arguments[:i], x, *arguments[i + 1 :]))
    with pytest.raises(RuntimeError, match="functorch"):
        torch.func.jvp(alone, (arguments[i],), (torch.ones_like(arguments[i]),))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_the_eager_path_is_the_registered_op(op):
    grads = []
    for call in entries(op).values():
        given = leaves(op)
        output = first(call(*given))
        grads.append(
            [output, *torch.autograd.grad(output.sum(), [given[i] for i in DIFFERENTIABLE[op]])]
        )
    for registered, eager in zip(*grads, strict=True):
        assert torch.equal(registered, eager)


@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 8), (8,)])
def test_add_rms_norm_gives_every_tensor_a_gradient_of_its_own(shape):
    x, residual = (torch.randn(shape, requires_grad=True) for _ in range(2))
    weight, factor = torch.ones(8), torch.randn(2, *shape)
    call = lambda: torch.stack(add_rms_norm(x, residual, weight, 1e-6))
    (once,) = torch.autograd.grad((call() * factor).sum(), x)
    for passes in (1, 2, 3):
        (call() * factor).sum().backward()
        assert x.grad.data_ptr() != residual.grad.data_ptr()
        for leaf in (x, residual):
            torch.testing.assert_close(leaf.grad, passes * once)


def test_autocast():
    """As nn.Linear, addition and attention take mixed dtypes there, with gradients in theirs."""
    x, half = torch.randn(6, 8, requires_grad=True), torch.randn(6, 8).bfloat16()
    weight, a, b = torch.randn(16, 8), torch.randn(4, 8), torch.randn(16, 4)
    target, share = torch.arange(6), torch.full((6,), 1 / 6)
    q, bounds = torch.randn(6, 2, 8), torch.tensor([0, 6])
    with torch.autocast("cpu", torch.bfloat16):
        y = lora_linear(x, weight, a.requires_grad_(), b, 1.0)
        assert y.dtype == torch.bfloat16
        loss, _ = linear_cross_entropy(half, weight, target, share)
        assert torch.equal(loss, linear_cross_entropy(half, weight.bfloat16(), target, share)[0])
        logprob, _ = linear_logprob(x, weight, target)
        total = add_rms_norm(half, x, torch.ones(8), 1e-6)[1]
        assert total.dtype == torch.float32 and torch.equal(total, half + x)
        assert causal_attention(q, q, q.bfloat16(), bounds).dtype == torch.bfloat16
    (y.float().sum() + logprob.sum()).backward()
    assert x.grad.dtype == a.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.float16):
        assert lora_linear(x, weight, a, b, 1.0).dtype == torch.float16
    with pytest.raises(TypeError, match="convert them"):
        linear_cross_entropy(half, weight, target, share)


def test_other_devices_are_refused():
    meta = torch.empty(2, 8, device="meta")
    with pytest.raises(ValueError, match="on one device"):
        kernels.rms_norm(torch.randn(2, 8), meta[0], 1e-6)
    packed = pack_weight(torch.randn(4, 8).bfloat16())
    with pytest.raises(ValueError, match="on the CPU"):
        packed_linear(meta.bfloat16(), packed)
    with pytest.raises(ValueError, match="on the CPU"):
        packed_linear(torch.randn(2, 8).bfloat16(), packed, meta[0, :4].bfloat16())


@pytest.mark.parametrize("temperature", [1e20, 3.4e36, 3e38, float("inf")])
@pytest.mark.parametrize("cut", [0, 3])
def test_no_temperature_brings_back_a_banned_token(temperature, cut):
    rows = 400
    logits = torch.full((rows, 1000), float("-inf"))
    logits[:, 7:9] = torch.tensor([1.0, 2.0])
    full = lambda value, dtype: torch.full((rows,), value, dtype=dtype)
    one = full(1.0, torch.float32)
    seeds = [torch.arange(rows)] + 2 * [full(3, torch.int64)]
    heat, top_k = full(temperature, torch.float32), full(cut, torch.int32)
    token, _, sampler_logprob, _ = sample_tokens(logits, heat, top_k, one, 0 * one, *seeds)
    assert set(token.tolist()) == {7, 8}  # both: hot enough for a fair coin
    assert abs((token == 7).double().mean() - 0.5) < 0.1
    torch.testing.assert_close(sampler_logprob, torch.full((rows,), 0.5).log())


def test_histograms_in_disorder_are_refused():
    keys, counts = torch.tensor([3, 1, 2]), torch.tensor([1, 1, 1])
    with pytest.raises(ValueError, match="must ascend"):
        kernels.ngram_l2(keys, counts, keys.sort().values, counts)
    with pytest.raises(ValueError, match="int64 token ids"):
        kernels.ngram_counts(keys, torch.tensor([0, 3]), 1, 9, exclude=torch.tensor([1.5]))
    with pytest.raises(ValueError, match="must not be negative"):
        lora_linear(
            torch.randn(2, 4),
            torch.randn(6, 4),
            torch.randn(4, 4),
            torch.randn(6, 2),
            1.0,
            splits=[8, -2],
        )
    q = torch.randn(2, 0, 4)
    with pytest.raises(ValueError, match="multiple of Hk"):
        causal_attention(torch.randn(2, 4, 4), q, q, torch.tensor([0, 2]))


def test_rows_of_no_width():
    assert kernels.rms_norm(torch.empty(3, 0), torch.empty(0), 1e-6).shape == (3, 0)
    assert kernels.swiglu(torch.empty(3, 0)).shape == (3, 0)
