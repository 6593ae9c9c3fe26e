"""The decoder against transformers: same logits for every family, packed or not."""

from __future__ import annotations

import json

import pytest
import torch
from families import FAMILIES, packed_logits, save_random_model
from safetensors.torch import load_file, save_file

from dftfast.model.weights import load_decoder, save_decoder
from dftfast.runtime.errors import UserError


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_transformers(family, tmp_path):
    model = save_random_model(family, tmp_path)
    decoder = load_decoder(tmp_path, torch.float32)
    documents = [torch.randint(0, 259, (length,)) for length in (17, 1, 90)]
    for document, ours in zip(documents, packed_logits(decoder, documents)):
        theirs = model(document[None]).logits[0]
        assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max()


def test_sharded_weights_load_and_save(tmp_path):
    model = save_random_model("qwen3", tmp_path / "a", max_shard_size="40KB")
    assert (tmp_path / "a" / "model.safetensors.index.json").exists()
    decoder = load_decoder(tmp_path / "a", torch.float32)
    save_decoder(decoder, tmp_path / "b", source=tmp_path / "a")
    again = type(model).from_pretrained(tmp_path / "b")
    for (name, x), y in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(x, y), name


def test_recomputed_layers_give_the_same_gradient(tmp_path):
    save_random_model("qwen3", tmp_path)
    decoder = load_decoder(tmp_path, torch.float32)
    document = [torch.randint(0, 259, (33,))]
    gradients = []
    for checkpointing in (False, True):
        for layer in decoder.layers:
            layer.activation_checkpointing = checkpointing
        weight = decoder.embed.requires_grad_().grad = None
        packed_logits(decoder, document)[0].square().mean().backward()
        gradients.append(decoder.embed.grad.clone())
    assert weight is None and torch.allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def damage(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: t.pop("model.layers.1.mlp.up_proj.weight"),
            "layers.1.mlp.up_proj.weight is missing",
        ),
        (
            lambda t: t.update({"model.extra.weight": torch.ones(2)}),
            "model.extra.weight is not part",
        ),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(7)}),
            r"model.norm.weight has shape \(7,\)",
        ),
    ],
)
def test_wrong_tensors_are_named(tmp_path, change, message):
    save_random_model("qwen3", tmp_path)
    damage(tmp_path, change)
    with pytest.raises(UserError, match=message):
        load_decoder(tmp_path)


def test_truncated_file_is_named(tmp_path):
    save_random_model("qwen3", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or truncated"):
        load_decoder(tmp_path)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("model_type", "mamba", "model_type 'mamba' is not supported"),
        ("hidden_size", None, "wrong type"),
        ("hidden_act", "gelu", "hidden_act 'gelu'"),
        ("rope_parameters", {"rope_type": "dynamic"}, "rope type 'dynamic'"),
    ],
)
def test_unsupported_configuration_is_refused(tmp_path, field, value, message):
    save_random_model("qwen3", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=message):
        load_decoder(tmp_path)


def test_missing_folder_and_files(tmp_path):
    with pytest.raises(UserError, match="no such model folder"):
        load_decoder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"config\.json: not found"):
        load_decoder(tmp_path)
