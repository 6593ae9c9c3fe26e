"""transformers' models computed by dftfast beside the same models computed by transformers."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
import transformers
from families import FAMILIES, SIZES, save_random_model

from dftfast.integrations.peft import patch, unpatch
from dftfast.integrations.transformers import apply, undo
from dftfast.runtime.errors import UserError

MISTRAL = transformers.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4)
# of a Mistral the one with a short window; SmolLM3's classes are not among those that `apply` knows
KINDS = [*(name for name in FAMILIES if name not in ("mistral", "smollm3")), "mistral"]


def model_of(family: str, folder) -> transformers.PreTrainedModel:
    if family != "mistral":
        return save_random_model(family, folder)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(MISTRAL).float()


def batch() -> dict[str, torch.Tensor]:
    tokens = torch.randint(3, 250, (2, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "labels": tokens.masked_fill(~mask.bool(), -100),
    }


def loss_and_gradients(model):
    model.zero_grad()
    output = model(**batch())
    output.loss.backward()
    return output, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(ours, theirs) -> None:
    torch.testing.assert_close(ours[0].loss, theirs[0].loss, rtol=1e-5, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        close = {"rtol": 1e-3, "atol": 1e-6 + 1e-4 * float(gradient.abs().max())}
        torch.testing.assert_close(ours[1][name], gradient, **close, msg=lambda m: f"{name}: {m}")


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", KINDS)
def test_same_loss_and_gradients_without_logits(tmp_path, family, checkpointing):
    model = model_of(family, tmp_path).train()
    theirs = loss_and_gradients(model)
    keys = list(model.state_dict())
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    apply(model)
    ours = loss_and_gradients(model)
    assert_same(ours, theirs)
    assert ours[0].logits is None and theirs[0].logits is not None
    assert list(model.state_dict()) == keys
    undo(model)
    again = loss_and_gradients(model)
    assert torch.equal(again[0].logits, theirs[0].logits)


@pytest.mark.parametrize("family", KINDS)
def test_evaluation_and_generation(tmp_path, family):
    model = model_of(family, tmp_path).eval()
    inputs = {k: v for k, v in batch().items() if k != "labels"}
    prompt = inputs["input_ids"][:1, :5]
    with torch.no_grad():
        logits = model(**inputs).logits
        text = model.generate(prompt, max_new_tokens=12, do_sample=False)
        apply(model)
        seen = inputs["attention_mask"].bool()
        torch.testing.assert_close(model(**inputs).logits[seen], logits[seen], rtol=1e-3, atol=1e-3)
        assert torch.equal(model.generate(prompt, max_new_tokens=12, do_sample=False), text)


def test_bfloat16_and_autocast(tmp_path):
    model = model_of("qwen3", tmp_path).train()
    ours = copy.deepcopy(model)
    apply(ours)
    exact = model(**batch()).loss.item()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(**batch()).loss.item() == pytest.approx(model(**batch()).loss.item(), rel=2e-2)
    half = ours.bfloat16()
    assert half(**batch()).loss.item() == pytest.approx(exact, rel=5e-2)


def test_around_and_under_peft(tmp_path):
    config = peft.LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    torch.manual_seed(1)
    model = peft.get_peft_model(model_of("llama", tmp_path), config).train()
    theirs = loss_and_gradients(model)
    apply(model)
    assert_same(loss_and_gradients(model), theirs)
    undo(model)
    assert torch.equal(loss_and_gradients(model)[0].loss, theirs[0].loss)


@pytest.mark.parametrize("order", [(apply, patch), (patch, apply)])
def test_beside_the_patch_of_peft(tmp_path, order):
    config = peft.LoraConfig(r=4, init_lora_weights=False, target_modules="all-linear")
    torch.manual_seed(1)
    model = peft.get_peft_model(model_of("qwen3", tmp_path), config).train()
    theirs = loss_and_gradients(model)
    for change in order:
        change(model)
    assert_same(loss_and_gradients(model), theirs)
    undo(model)
    unpatch(model)
    assert not any("forward" in vars(module) for module in model.modules())


def test_compiled_without_graph_breaks(tmp_path):
    model = model_of("llama", tmp_path).eval()
    tokens = batch()["input_ids"]
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
        apply(model)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        found = compiled(tokens, use_cache=False).logits
    torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-3)


def test_undone_after_a_trainer_has_wrapped_it(tmp_path):
    """What a wrapper keeps calling is transformers' forward again."""
    model = model_of("qwen3", tmp_path).train()
    theirs = loss_and_gradients(model)
    apply(model)
    inner = model.forward
    model.forward = lambda *args, **kwargs: inner(*args, **kwargs)
    assert model(**batch()).logits is None
    undo(model)
    assert torch.equal(model(**batch()).logits, theirs[0].logits)


def test_refusals(tmp_path):
    model = model_of("qwen2", tmp_path)
    with pytest.raises(UserError, match="has not been called"):
        undo(model)
    apply(model)
    with pytest.raises(UserError, match="already"):
        apply(model)
    undo(model)
    other = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20)
    )
    with pytest.raises(UserError, match="'gpt2' are not known"):
        apply(other)
    model.model.layers[0].mlp.forward = lambda x: x
    with pytest.raises(UserError, match="replaced"):
        apply(model)
