"""A patched PEFT model beside the same model unpatched."""

from __future__ import annotations

import peft
import pytest
import torch
from families import save_random_model

from dftfast.integrations.peft import patch, unpatch
from dftfast.kernels import lora_linear
from dftfast.runtime.errors import UserError


def lora_model(folder, family="qwen3", dtype=torch.float32, **options):
    options = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "init_lora_weights": False,
    } | options
    base = save_random_model(family, folder).to(dtype)
    torch.manual_seed(1)
    return peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **options)).train()


def loss_and_gradients(model, seed=2):
    torch.manual_seed(seed)
    tokens = torch.randint(3, 250, (2, 9))
    model.zero_grad()
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    return loss.detach(), {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.fixture
def calls(monkeypatch):
    """How often the op was used."""
    made = []
    monkeypatch.setattr(
        "dftfast.integrations.peft.lora_linear",
        lambda *args, **kw: made.append(1) or lora_linear(*args, **kw),
    )
    return made


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
def test_same_loss_and_gradients_and_undone(tmp_path, family, calls):
    model = lora_model(tmp_path, family)
    loss, gradients = loss_and_gradients(model)
    assert patch(model) == patch(model) == 3 * 7
    patched_loss, patched = loss_and_gradients(model)
    assert len(calls) == 3 * 7
    torch.testing.assert_close(patched_loss, loss, rtol=1e-5, atol=1e-6)
    assert patched.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            patched[name], gradient, rtol=1e-4, atol=1e-6 + 1e-5 * float(gradient.abs().max())
        )
    assert unpatch(model) == 3 * 7 and unpatch(model) == 0
    again, _ = loss_and_gradients(model)
    assert torch.equal(again, loss) and len(calls) == 3 * 7


def test_bfloat16_base_with_fp32_adapter(tmp_path, calls):
    model = lora_model(tmp_path, dtype=torch.bfloat16)
    loss, gradients = loss_and_gradients(model)
    patch(model)
    patched_loss, patched = loss_and_gradients(model)
    assert calls and abs(patched_loss - loss) < 0.03 * loss
    for name, gradient in gradients.items():
        assert patched[name].dtype == gradient.dtype == torch.float32
        assert (
            torch.nn.functional.cosine_similarity(
                patched[name].flatten(), gradient.flatten(), dim=0
            )
            > 0.98
        )


def test_generation_and_saving_are_unchanged(tmp_path, calls):
    model = lora_model(tmp_path / "base").eval()
    tokens = torch.arange(5, 12)[None]
    expected = model.generate(input_ids=tokens, max_new_tokens=6, do_sample=False)
    patch(model)
    assert (
        torch.equal(model.generate(input_ids=tokens, max_new_tokens=6, do_sample=False), expected)
        and calls
    )
    model.save_pretrained(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_what_is_not_plain_lora_keeps_pefts_forward(tmp_path, calls):
    model = lora_model(tmp_path / "dora", use_dora=True)
    loss, _ = loss_and_gradients(model)
    patch(model)
    assert torch.equal(loss_and_gradients(model)[0], loss) and not calls
    model = lora_model(tmp_path / "merged").eval()
    patch(model)
    tokens = torch.arange(5, 12)[None]
    with torch.no_grad():
        model.merge_adapter()
        model(input_ids=tokens)
        with model.disable_adapter():
            model(input_ids=tokens)
    assert not calls


def test_dropout_is_drawn_anew_and_only_in_training(tmp_path):
    model = lora_model(tmp_path, lora_dropout=0.5)
    patch(model)
    assert loss_and_gradients(model, 1)[0] == loss_and_gradients(model, 1)[0]
    tokens = torch.arange(5, 12)[None]
    assert (
        model(input_ids=tokens, labels=tokens).loss != model(input_ids=tokens, labels=tokens).loss
    )
    model.eval()
    assert (
        model(input_ids=tokens, labels=tokens).loss == model(input_ids=tokens, labels=tokens).loss
    )


def test_a_model_without_adapters_is_refused(tmp_path):
    with pytest.raises(UserError, match="get_peft_model"):
        patch(save_random_model("qwen3", tmp_path))
