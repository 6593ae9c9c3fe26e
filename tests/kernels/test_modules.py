"""The modules beside transformers' own, with one state dict for both."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from dftfast.kernels.modules import CausalLMLoss, RMSNorm, SwiGLUMLP

SIZES = dict(hidden_size=24, intermediate_size=40, num_attention_heads=2)
CONFIG = LlamaConfig(**SIZES, mlp_bias=True)
PAIRS = {
    "norm": (lambda: RMSNorm(24, eps=1e-5), lambda: LlamaRMSNorm(24, eps=1e-5)),
    "mlp": (lambda: SwiGLUMLP(CONFIG), lambda: LlamaMLP(CONFIG)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pair", PAIRS)
def test_one_takes_the_others_place(pair, dtype):
    torch.manual_seed(0)
    ours, theirs = (make() for make in PAIRS[pair])
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 24).to(dtype)
    up = torch.randn(2, 5, 24).to(dtype)
    results = []
    for module in (ours.to(dtype), theirs.to(dtype)):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        y.backward(up)
        results.append([y, leaf.grad, *(p.grad for p in module.parameters())])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(
            a, b, rtol=tolerance, atol=tolerance * float(b.detach().abs().max())
        )


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="silu expected, got 'gelu'"):
        SwiGLUMLP(LlamaConfig(**SIZES, hidden_act="gelu"))


def test_the_loss_keeps_its_settings():
    hidden, weight, labels = torch.randn(2, 4, 8), torch.randn(9, 8), torch.full((2, 4), 3)
    losses = CausalLMLoss(ignore_index=3, reduction="none")(hidden, weight, labels)
    assert losses.shape == (2, 4) and not losses.any()
    assert CausalLMLoss(label_smoothing=0.2)(hidden, weight, labels) != CausalLMLoss()(
        hidden, weight, labels
    )
