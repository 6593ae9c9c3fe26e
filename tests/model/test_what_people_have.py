"""Model folders as they are found: loaded as transformers loads them, or refused in one line."""

from __future__ import annotations

import json
import shutil

import pytest
import tokenizers
import torch
import transformers
from byte_model import save_byte_model
from families import packed_logits, save_random_model
from safetensors.torch import load_file, save_file

from dftfast.model.config import ModelConfig
from dftfast.model.pretrained import resolve_model
from dftfast.model.rotary import rope_frequencies, rope_magnitude
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import check_model, load_decoder, save_decoder
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError

TOKENS = torch.arange(3, 40)


def logits(folder):
    with torch.no_grad():
        return packed_logits(load_decoder(folder, torch.float32), [TOKENS])[0]


def theirs(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(TOKENS[None]).logits[0]


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def folder(tmp_path):
    save_random_model("qwen3", tmp_path / "model")
    return tmp_path / "model"


def other_head(folder):
    tensors = load_file(folder / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(tensors | {"lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})
    return head


def test_a_head_of_its_own_is_kept_where_the_config_says_tied(folder, tmp_path, caplog):
    before = logits(folder)
    head = other_head(folder)
    assert "another lm_head" not in caplog.text
    found = logits(folder)
    assert "another lm_head" in caplog.text
    assert (found - before).abs().max() > 0.1 * before.abs().max()
    decoder = load_decoder(folder, torch.float32)
    assert torch.equal(decoder.head_weight, head)
    save_decoder(decoder, tmp_path / "saved", folder)  # and what is written says so
    assert torch.equal(theirs(tmp_path / "saved"), theirs(tmp_path / "saved"))
    assert (theirs(tmp_path / "saved") - found).abs().max() <= 2e-5 * found.abs().max()


def test_the_same_head_twice_stays_tied(folder):
    before = logits(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert load_decoder(folder).head is None and torch.equal(logits(folder), before)


def test_a_single_file_is_taken_before_an_index(folder, tmp_path):
    wanted = logits(folder)
    save_random_model("qwen3", tmp_path / "shards", max_shard_size="100KB")
    for shard in (tmp_path / "shards").glob("*.safetensors*"):
        shutil.copy(shard, folder / shard.name)
    for shard in folder.glob("model-*.safetensors"):
        tensors = load_file(shard)
        save_file({n: torch.zeros_like(t) for n, t in tensors.items()}, shard, {"format": "pt"})
    assert (folder / "model.safetensors.index.json").exists()
    assert torch.equal(logits(folder), wanted)
    assert (theirs(folder) - wanted).abs().max() <= 2e-5 * wanted.abs().max()


def as_bin(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def as_pointer(folder):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 128860\n"
    (folder / "model.safetensors").write_text(text)


def as_adapter(folder):
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text("{}")


def as_gguf(folder):
    (folder / "model.safetensors").rename(folder / "model.Q4_K_M.gguf")


def as_consolidated(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def without_index(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")


def quantised(method, **more):
    quantization = {"quant_method": method, **more}
    return lambda folder: edit(folder / "config.json", quantization_config=quantization)


def without_head(folder):
    edit(folder / "config.json", tie_word_embeddings=False)


@pytest.mark.parametrize(
    "damage, message",
    [
        (as_bin, r"pickled files .*save_pretrained"),
        (as_pointer, "pointer of Git LFS.*git lfs pull"),
        (as_adapter, "holds an adapter"),
        (as_gguf, "GGUF"),
        (as_consolidated, "Hugging Face files"),
        (without_index, "no model.safetensors.index.json"),
        (quantised("fp8", weight_block_size=[8, 8]), r"quantised \(fp8\).*16-bit"),
        (quantised("bitsandbytes", load_in_4bit=True), r"quantised \(bitsandbytes"),
        (quantised("gptq", bits=4), r"quantised \(gptq\)"),
        (without_head, "tie_word_embeddings = true"),
    ],
)
def test_what_a_folder_holds_instead_is_said(damage, message, folder):
    damage(folder)
    with pytest.raises(UserError, match=message):
        check_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value, folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"layers.1.mlp.gate_proj.*not finite"):
        load_decoder(folder)


def test_files_in_place_of_a_folder_are_named(tmp_path):
    file = tmp_path / "qwen3-4b.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="GGUF is not read"):
        resolve_model(str(file))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="holds an adapter"):
        resolve_model(str(tmp_path))


def test_ids_beyond_the_embedding_are_named(tmp_path):
    folder = save_byte_model(tmp_path)
    tokenizer = Tokenizer.from_folder(folder)
    tokenizer.check_fits(259)
    core = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.add_tokens(["<new>"])
    core.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match=r"260 ids .*'<new>'.* 259 rows"):
        Tokenizer.from_folder(folder).check_fits(259)


def test_an_end_token_of_another_tokenizer_is_named(tmp_path):
    folder = save_byte_model(tmp_path)
    edit(folder / "tokenizer_config.json", eos_token="<|im_end|>")
    with pytest.raises(UserError, match=r"'<\|im_end\|>'.* not a token of tokenizer.json"):
        Tokenizer.from_folder(folder)


def test_named_templates_without_a_default_are_refused(tmp_path):
    folder = save_byte_model(tmp_path)
    templates = [{"name": "tool_use", "template": "x"}, {"name": "rag", "template": "y"}]
    edit(folder / "tokenizer_config.json", chat_template=templates)
    with pytest.raises(UserError, match="tool_use, rag none is called default"):
        Tokenizer.from_folder(folder)


@pytest.mark.parametrize(
    "template, message",
    [
        ("{{ messages[0].content }}\n{{ messages[0].content + 1 }}", "line 2 .*TypeError"),
        ("{{ tools[0].name }}", "fails|refused"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "refused"),
    ],
)
def test_a_template_that_fails_is_one_line(template, message, tmp_path):
    folder = save_byte_model(tmp_path)
    edit(folder / "tokenizer_config.json", chat_template=template)
    with pytest.raises(UserError, match=f"chat template.*({message})"):
        Tokenizer.from_folder(folder).chat([{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"attention_factor": 0.8},
        {"mscale": 0.7, "mscale_all_dim": 1.2, "beta_fast": 16, "beta_slow": 2},
        {"truncate": False},
    ],
)
def test_yarn_is_that_of_transformers(more, tmp_path):
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, **more}
    config = transformers.Qwen3Config(
        head_dim=128, rope_parameters={"rope_theta": 1e6, **rope}, eos_token_id=2
    )
    config.save_pretrained(tmp_path)
    ours = ModelConfig.from_folder(tmp_path)
    compute = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["yarn"]
    frequencies, factor = compute(config, "cpu")
    torch.testing.assert_close(rope_frequencies(ours), frequencies)
    assert rope_magnitude(ours) == pytest.approx(factor)
    assert ours.max_position_embeddings == max(4 * 4096, config.max_position_embeddings)


def test_mistral_is_as_long_as_its_window(tmp_path):
    save_random_model("mistral", tmp_path)
    assert ModelConfig.from_folder(tmp_path).max_position_embeddings == 512


@pytest.fixture(scope="module")
def llama2(tmp_path_factory):
    """A sentencepiece BPE with byte fallback, as Llama 2 and Mistral 7B came with."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("llama2")
    words = [f"{a} {b} the quick brown fox jumps" for a in "abcdefgh" for b in ("dog", "cat")]
    (folder / "words.txt").write_text("\n".join(words * 4))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
        add_dummy_prefix=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    settings = {"tokenizer_class": "LlamaTokenizer", "eos_token": "</s>", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<unk>"}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 2}))
    return folder


def test_a_sentencepiece_tokenizer_is_converted(llama2):
    ours, fast = Tokenizer.from_folder(llama2), transformers.AutoTokenizer.from_pretrained(llama2)
    for text in ("the quick brown dog", "  two  spaces\n", "naïve 北京 🙂"):
        assert ours.encode(text) == fast(text, add_special_tokens=False).input_ids
        assert ours.decode(ours.encode(text)).strip() == text.strip()
    assert ours.eos_ids == (2,)


def test_without_any_tokenizer_it_is_said_how_to_save_one(tmp_path):
    save_byte_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"nor a tokenizer\.model.*save_pretrained\(FOLDER\)"):
        Tokenizer.from_folder(tmp_path)


def test_without_the_package_its_extra_is_named(llama2, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"dftfast\[sentencepiece\]"):
        Tokenizer.from_folder(llama2)


@pytest.mark.parametrize("family", ["mistral", "smollm3", "qwen3-yarn"])
def test_greedy_by_the_engine_is_that_of_transformers(family, tmp_path):
    model = save_random_model(family, tmp_path)
    prompt = list(range(3, 90))
    wanted = model.generate(
        torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0
    )[0, len(prompt) :].tolist()
    engine = RolloutEngine(load_decoder(tmp_path, torch.float32), agreement_samples=4)
    batch = engine.generate([Request(0, prompt, Sampler(0.0, max_tokens=12))])
    assert batch.output(0) == wanted
    if family != "smollm3":  # whose layers without positions the packed kernel does not take
        half = RolloutEngine(load_decoder(tmp_path, torch.float32), dtype=torch.bfloat16)
        batch = half.generate([Request(i, prompt, Sampler(max_tokens=12)) for i in range(4)])
        assert batch.agreement.tokens and batch.agreement.mean < 0.1
