"""A base in four bits, on a CPU by the library that does it on a card."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from families import packed_logits, save_random_model

from dftfast.model.lora import lora_layers
from dftfast.model.nf4 import Nf4, check_bitsandbytes
from dftfast.model.policy import Policy
from dftfast.model.weights import hf_views, load_decoder
from dftfast.optimise.fit import backward
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.packing import Example, pack
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError

pytest.importorskip("bitsandbytes")
DOCUMENT = torch.arange(3, 40)


@pytest.fixture
def pair(tmp_path):
    """A policy in four bits, and one of full weights that are what the four bits stand for."""
    save_random_model("qwen3", tmp_path / "base")
    quantised = Policy(tmp_path / "base", torch.float32, quantization="nf4")
    quantised.save(tmp_path / "decoded")
    return quantised, Policy(tmp_path / "decoded", torch.float32)


def begin(policy, seed):
    g = torch.Generator().manual_seed(seed)
    parameters = policy.begin_phase(rank=4, alpha=8, seed=seed)
    for parameter in parameters:
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return parameters


def logits(policy):
    with torch.no_grad():
        return packed_logits(policy.decoder, [DOCUMENT])[0]


def test_the_base_is_near_the_weights_and_in_a_quarter_of_bf16(pair, tmp_path):
    quantised, _ = pair
    full = dict(hf_views(load_decoder(tmp_path / "base", torch.float32)))
    decoded = dict(hf_views(quantised.decoder))
    assert full.keys() == decoded.keys()
    for name, weight in full.items():
        error = (decoded[name] - weight).norm() / weight.norm()
        if ".layers." in name and weight.dim() == 2:
            assert 0.05 < error < 0.13, name  # of normal values: 0.09
        else:
            assert error == 0, name
    for linear in lora_layers(quantised.decoder).values():
        assert linear.weight.is_meta and linear.nf4 is not None
        assert linear.nf4.codes.nbytes * 2 == linear.weight.numel()


@pytest.mark.parametrize("checkpointing", [0.0, 1.0])
def test_loss_and_gradients_are_those_over_the_decoded_weights(pair, checkpointing):
    batch = pack([Example(list(range(3, 9)), list(range(40, 50 + i))) for i in range(3)])
    values, gradients = [], []
    for policy in pair:
        policy.decoder.set_activation_checkpointing(checkpointing)
        parameters = begin(policy, 1)
        values.append(backward(policy.decoder, batch, 1 / 30, likelihood))
        gradients.append([p.grad for p in parameters])
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for ours, usual in zip(*gradients):
        torch.testing.assert_close(ours, usual, rtol=1e-3, atol=1e-4 * usual.abs().max().item())


def test_no_decoded_matrix_is_kept_for_the_backward_pass(pair):
    quantised, _ = pair
    begin(quantised, 1)
    layer = quantised.decoder.layers[0].gate_up
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        layer(torch.randn(5, layer.in_features, requires_grad=True))
    assert kept and layer.weight.shape not in kept and layer.weight.t().shape not in kept


def test_phases_follow_each_other_and_are_saved_as_they_were_trained(pair, tmp_path):
    """An ended phase keeps the logits that it had live: nothing is rounded to four bits again."""
    quantised, usual = pair
    for phase in range(3):
        for policy in pair:
            begin(policy, phase)
        live = logits(quantised)
        for policy in pair:
            policy.end_phase()
        scale = live.abs().max()
        assert (logits(quantised) - live).abs().max() <= 1e-4 * scale
        assert (logits(usual) - live).abs().max() <= 1e-4 * scale
    quantised.save(tmp_path / "merged")
    merged = load_decoder(tmp_path / "merged", torch.float32)
    with torch.no_grad():
        saved = packed_logits(merged, [DOCUMENT])[0]
    assert (saved - live).abs().max() <= 1e-4 * scale
    again = Policy(tmp_path / "base", torch.float32, quantization="nf4")
    again.adapters = quantised.adapters
    again.merge_weights()
    assert torch.equal(logits(again), logits(quantised))
    assert again.fingerprint() == quantised.fingerprint() != usual.fingerprint()


def test_a_matrix_of_no_whole_number_of_blocks_is_refused():
    with pytest.raises(UserError, match="blocks of 64"):
        Nf4(torch.randn(5, 12))


def test_the_library_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    with pytest.raises(UserError, match=r"pip install 'dftfast\[quantization\]'"):
        check_bitsandbytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rollouts_are_of_the_decoded_policy(tmp_path, dtype):
    save_random_model("qwen3", tmp_path / "base")
    policy = Policy(tmp_path / "base", dtype, quantization="nf4")
    begin(policy, 1)
    policy.decoder.version += 1
    vocab = json.loads((tmp_path / "base" / "config.json").read_text())["vocab_size"]
    engine = RolloutEngine(policy.decoder, cache_tokens=1024)
    batch = engine.generate([Request(i, [i + 5 % vocab], Sampler(max_tokens=8)) for i in range(4)])
    assert batch.agreement is not None
    assert batch.agreement.mean < (1e-4 if dtype == torch.float32 else 0.05)
