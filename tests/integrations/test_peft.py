"""A patched PEFT model beside the same model unpatched."""

from __future__ import annotations

from types import MethodType

import accelerate
import accelerate.hooks
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast(tmp_path, dtype, calls):
    """Where Trainer(bf16=True) calls it. Products of bfloat16 in another order of rounding."""
    model = lora_model(tmp_path, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradients = loss_and_gradients(model)
        patch(model)
        patched_loss, patched = loss_and_gradients(model)
    assert len(calls) == 3 * 7 and abs(patched_loss - loss) < 0.02 * loss
    for name, gradient in gradients.items():
        assert patched[name].dtype == gradient.dtype == torch.float32
        flat = patched[name].flatten(), gradient.flatten()
        assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.98, name


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps the first settings of a process; an earlier test's may differ."""
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_beside_accelerate(tmp_path, calls):
    """`prepare` wraps the model's forward in autocast, and takes it off again."""
    model = lora_model(tmp_path)
    patch(model)
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    tokens = torch.arange(5, 14)[None]
    losses = []
    for _ in range(3):
        loss = model(input_ids=tokens, labels=tokens).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[0] and len(calls) == 3 * 3 * 7
    plain = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    assert unpatch(plain) == 3 * 7
    assert not any("forward" in vars(m) for m in plain.modules() if hasattr(m, "lora_A"))


class Counting(accelerate.hooks.ModelHook):
    def __init__(self):
        self.seen = 0

    def pre_forward(self, module, *args, **kwargs):
        self.seen += 1
        return args, kwargs


@pytest.mark.parametrize("hooked_first", [True, False])
@pytest.mark.parametrize("unhooked_first", [True, False])
def test_hooks_of_accelerate_stay(tmp_path, calls, hooked_first, unhooked_first):
    model = lora_model(tmp_path).eval()
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    before, hook, x = dict(vars(layer)), Counting(), torch.randn(3, 48)
    expected = layer(x)
    if not hooked_first:
        patch(model)
    accelerate.hooks.add_hook_to_module(layer, hook)
    if hooked_first:
        patch(model)
    torch.testing.assert_close(layer(x), expected)
    assert hook.seen == 1 and len(calls) == 1
    if unhooked_first:
        accelerate.hooks.remove_hook_from_module(layer)
        layer(x)
        assert len(calls) == 2
    calls.clear()
    unpatch(model)
    assert torch.equal(layer(x), expected) and not calls
    assert hook.seen == (1 if unhooked_first else 2)
    if not unhooked_first:
        accelerate.hooks.remove_hook_from_module(layer)
    assert torch.equal(layer(x), expected) and hook.seen < 3
    assert vars(layer).get("forward", layer.forward) == MethodType(type(layer).forward, layer)
    assert vars(layer).keys() - {"forward"} == before.keys()


def test_hooks_on_the_parts_of_a_layer_keep_pefts_forward(tmp_path, calls):
    """As where the base lies on another device until its hook brings it."""
    model = lora_model(tmp_path).eval()
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    hook = Counting()
    accelerate.hooks.add_hook_to_module(layer.base_layer, hook)
    patch(model)
    layer(torch.randn(3, 48))
    assert hook.seen == 1 and not calls


def test_a_forward_that_something_else_replaced_is_left_alone(tmp_path):
    model = lora_model(tmp_path)
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    layer.forward = lambda x: 2 * x
    with pytest.raises(UserError, match="has been replaced"):
        patch(model)
    x = torch.randn(3, 48)
    assert torch.equal(layer(x), 2 * x)
    assert unpatch(model) == 0  # nor are the layers before it
