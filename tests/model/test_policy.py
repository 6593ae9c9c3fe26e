"""Adapters, phases and what transformers and PEFT make of what is written."""

from __future__ import annotations

import peft
import pytest
import torch
from families import FAMILIES, packed_logits, save_random_model

from dftfast.model.adapter import Adapter
from dftfast.model.lora import lora_layers
from dftfast.model.policy import Policy
from dftfast.model.weights import save_decoder
from dftfast.runtime.errors import UserError

DOCUMENT = torch.arange(3, 40)


def train_at_random(policy, seed, size=0.05):
    generator = torch.Generator().manual_seed(seed)
    for parameter in policy.begin_phase(rank=4, alpha=8, seed=seed):
        parameter.data.add_(size * torch.randn(parameter.shape, generator=generator))


def logits(policy):
    with torch.no_grad():
        return packed_logits(policy.decoder, [DOCUMENT])[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_export_loads_in_peft_and_transformers(family, tmp_path):
    model = save_random_model(family, tmp_path / "base")
    policy = Policy(tmp_path / "base", torch.float32)
    train_at_random(policy, seed=1)
    live = logits(policy)
    adapter = policy.end_phase()
    adapter.check(policy.decoder)
    adapter.save(tmp_path / "adapter", base=tmp_path / "base")
    save_decoder(policy.decoder, tmp_path / "merged", source=tmp_path / "base")

    merged = type(model).from_pretrained(tmp_path / "merged", dtype=torch.float32)
    with_adapter = peft.PeftModel.from_pretrained(model, tmp_path / "adapter")
    scale = live.abs().max()
    assert (logits(policy) - live).abs().max() <= 2e-5 * scale
    assert (merged(DOCUMENT[None]).logits[0] - live).abs().max() <= 2e-5 * scale
    assert (with_adapter(DOCUMENT[None]).logits[0] - live).abs().max() <= 2e-5 * scale


def test_adapter_of_peft_is_imported(tmp_path):
    model = save_random_model("qwen3", tmp_path / "base")
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    with_adapter = peft.get_peft_model(model, config)
    with_adapter.save_pretrained(tmp_path / "adapter")
    policy = Policy(tmp_path / "base", torch.float32)
    adapter = Adapter.load(tmp_path / "adapter")
    adapter.check(policy.decoder)
    policy.adapters.append(adapter)
    policy.merge_weights()
    theirs = with_adapter(DOCUMENT[None]).logits[0]
    assert (logits(policy) - theirs).abs().max() <= 2e-5 * theirs.abs().max()


@pytest.mark.parametrize(
    "targets", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head", "up_proj"]]
)
def test_adapter_of_embedding_and_head_is_imported_and_exported(targets, tmp_path):
    model = save_random_model("qwen3-untied", tmp_path / "base")
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False)
    with_adapter = peft.get_peft_model(model, config)
    with_adapter.save_pretrained(tmp_path / "adapter")
    policy = Policy(tmp_path / "base", torch.float32)
    before = logits(policy)
    adapter = Adapter.load(tmp_path / "adapter")
    adapter.check(policy.decoder)
    policy.adapters.append(adapter)
    policy.merge_weights()
    theirs = with_adapter(DOCUMENT[None]).logits[0]
    assert (logits(policy) - theirs).abs().max() <= 2e-5 * theirs.abs().max()
    assert (before - theirs).abs().max() > 1e-2 * theirs.abs().max()
    save_decoder(policy.decoder, tmp_path / "merged", source=tmp_path / "base")
    merged = type(model).from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert (merged(DOCUMENT[None]).logits[0] - theirs).abs().max() <= 2e-5 * theirs.abs().max()


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_adapter_of_a_tied_embedding_or_head_is_refused(target, tmp_path):
    model = save_random_model("qwen3", tmp_path / "base")
    config = peft.LoraConfig(r=4, target_modules=[target], init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="ties together"):
        Adapter.load(tmp_path / "adapter").check(Policy(tmp_path / "base", torch.float32).decoder)


def test_adapter_with_a_new_embedding_is_refused(tmp_path):
    model = save_random_model("qwen3-untied", tmp_path / "base")
    with_adapter = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["embed_tokens"]))
    with_adapter.get_input_embeddings().weight.data[3] += 1
    with_adapter.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    with pytest.raises(UserError, match="replaces a weight"):
        Adapter.load(tmp_path / "adapter").check(Policy(tmp_path / "base", torch.float32).decoder)


def test_adapter_of_another_model_is_refused(tmp_path):
    save_random_model("qwen3", tmp_path / "base")
    policy = Policy(tmp_path / "base", torch.float32)
    wrong = {"base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.zeros(4, 48)}
    with pytest.raises(UserError, match=r"layers\.9\.self_attn\.q_proj"):
        Adapter(wrong, 4, 1.0).check(policy.decoder)


def test_hundred_phases_do_not_drift(tmp_path):
    """bf16 weights after 100 phases equal the fp64 sum of base and adapters, rounded once."""
    save_random_model("qwen3", tmp_path)
    policy = Policy(tmp_path, torch.bfloat16)
    base = {
        name: m.weight.double()
        for name, m in lora_layers(Policy(tmp_path, torch.float32).decoder).items()
    }
    for phase in range(100):
        train_at_random(policy, seed=phase, size=0.01)
        for name, module in lora_layers(policy.decoder).items():
            pairs = zip(module.a.chunk(len(module.splits)), module.b.split(module.splits))
            base[name] += (
                module.scale * torch.cat([b.double() @ a.double() for a, b in pairs]).detach()
            )
        if phase < 99:
            policy.adapters.append(policy_adapter(policy))
        else:
            policy.end_phase()
    for name, module in lora_layers(policy.decoder).items():
        error = (module.weight.double() - base[name]).abs()
        half_unit = base[name].abs() * 2**-8 + 1e-6
        assert (error <= 1.01 * half_unit).all(), name


def policy_adapter(policy):
    """The live adapter, taken off without recomputing the weights.

    The last phase recomputes them all.
    """
    from dftfast.model.lora import adapter_tensors, remove_adapter

    module = policy.decoder.layers[0].qkv
    adapter = Adapter(adapter_tensors(policy.decoder), module.b.shape[1], module.scale)
    remove_adapter(policy.decoder)
    return adapter


def test_baked_temperature_divides_the_logits(tmp_path):
    save_random_model("llama", tmp_path)
    policy = Policy(tmp_path, torch.float32)
    before = logits(policy)
    policy.temperature = 0.8
    policy.merge_weights()
    assert torch.allclose(logits(policy), before / 0.8, rtol=1e-4, atol=1e-4)
    policy.temperature = 1.0
    policy.merge_weights()
    assert torch.equal(logits(policy), before)
