"""Eight-bit rollouts on a CPU, where torch's scaled product runs too; recording needs a card."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
import torch.nn.functional as F

from dftfast.model.decoder import Decoder
from dftfast.model.lora import add_adapter
from dftfast.rollout import Agreement, Request, RolloutEngine, Sampler
from dftfast.rollout.fp8 import Fp8Decoder, Fp8Linear, check_fp8, to_e4m3
from dftfast.rollout.paged import PagedDecoder
from dftfast.runtime.errors import UserError

from .models import random_prompt, tiny_decoder


class OnCPU(Fp8Decoder):
    """Without recorded steps."""

    refill, allocate, logits = 1, PagedDecoder.allocate, PagedDecoder.logits


def engine_on_cpu(decoder, **options):
    engine = RolloutEngine(decoder, cache_tokens=4096, agreement_samples=64, **options)
    engine.backend = OnCPU(decoder, 16, 64)
    return engine


def measured(engine) -> Agreement:
    vocab = engine.decoder.config.vocab_size
    requests = [
        Request(i, random_prompt(9, vocab, i), Sampler(max_tokens=24), n=2) for i in range(16)
    ]
    agreement = engine.generate(requests).agreement
    assert agreement is not None
    return agreement


def test_a_row_is_as_exact_as_three_bits_of_mantissa_allow():
    rows = (
        torch.randn(50, 96, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-9, 9, 50)[:, None]
    )
    codes, scale = to_e4m3(rows)
    error = (codes.float() * scale - rows).abs()
    # half a unit in the last place, or of the smallest numbers half of those
    assert (error <= rows.abs() / 16 + scale * 2**-10 * 1.01).all()
    assert to_e4m3(torch.zeros(2, 16))[0].float().count_nonzero() == 0


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_layer_is_the_product_of_what_was_rounded(family):
    decoder = tiny_decoder(family, torch.bfloat16)
    linear = decoder.layers[0].qkv
    linear.bias = torch.nn.Parameter(
        torch.randn(sum(linear.splits)).bfloat16(), requires_grad=False
    )
    layer = Fp8Linear(linear)
    layer.take(linear.merged())
    x = torch.randn(7, linear.in_features).bfloat16()
    (a, sa), (b, sb) = to_e4m3(x), to_e4m3(linear.weight)
    exact = F.linear(a.double() * sa, b.double() * sb, linear.bias.double())
    torch.testing.assert_close(layer(x).double(), exact, rtol=2**-7, atol=2**-7)
    assert torch.equal(layer(x[:1]), layer(x)[:1])  # no token depends on its company
    usual = F.linear(x.float(), linear.weight.float(), linear.bias.float())
    assert 0.005 < (layer(x).float() - usual).norm() / usual.norm() < 0.06


def test_sampling_follows_the_adapter_and_says_how_far_it_is_from_the_policy():
    decoder = tiny_decoder("qwen3", torch.bfloat16)
    plain = RolloutEngine(decoder, cache_tokens=4096, agreement_samples=64)
    plain.backend = PagedDecoder(decoder, 16)
    engine = engine_on_cpu(decoder)
    before, usual = (measured(e) for e in (engine, plain))
    assert usual.kl < 1e-3 and usual.kl < before.kl < 0.1 and usual.mean < before.mean
    codes = [p.data_ptr() for p in engine.backend.decoder.parameters()]
    for parameter in add_adapter(decoder, 4, 8, seed=0):
        parameter.data.add_(0.05)
    stale = measured(engine)  # nobody has said that weights changed
    decoder.version += 1
    after = measured(engine)
    assert after.kl < 0.2 < stale.kl
    assert codes == [p.data_ptr() for p in engine.backend.decoder.parameters()]  # graphs live on


@pytest.mark.parametrize("capability", [(8, 0), (8, 6)])
def test_other_cards_are_refused(capability, monkeypatch):
    on_card = SimpleNamespace(embed=SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A card")
    with pytest.raises(UserError, match=rf"A card has compute capability 8\.{capability[1]}"):
        check_fp8(cast(Decoder, on_card))


def test_a_cpu_is_refused():
    with pytest.raises(UserError, match="the model is on cpu; choose bf16"):
        RolloutEngine(tiny_decoder("qwen3", torch.bfloat16), dtype=torch.float8_e4m3fn)
