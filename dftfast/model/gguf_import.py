"""GGUF files of Llama-type models, rewritten as a Hugging Face-format folder.

The folder holds bf16 safetensors, the config and the tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path

from dftfast.runtime.errors import UserError

_TENSOR_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL, _USER_DEFINED = 3, 4  # token types of the GGUF specification


def import_gguf(file: Path, folder: Path) -> None:
    """Write a Hugging Face-format folder: configs, model.safetensors and the tokenizer's files.

    Quantised tensors (Q4_1, Q8_0 and every other type the gguf library knows) are dequantised in
    float32 and rounded to bfloat16. Read are Llama-type models with a byte-level BPE vocabulary;
    anything else is a UserError.
    """
    import gguf

    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items() if field.types}
    if fields["general.architecture"] != "llama" or fields["tokenizer.ggml.model"] != "gpt2":
        raise UserError(
            f"{file}: only Llama-type models with a byte-level BPE vocabulary can be imported from "
            "GGUF, "
            f"this is {fields['general.architecture']} with {fields['tokenizer.ggml.model']}"
        )
    names = {tensor.name for tensor in reader.tensors}
    config = _config(fields, tied="output.weight" not in names)
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {key: config[key] for key in config if key.endswith("_token_id")},
    )
    _write_tokenizer(fields, folder)
    _write_weights(reader.tensors, config, folder / "model.safetensors")


def _config(fields: dict, tied: bool) -> dict:
    heads, hidden = fields["llama.attention.head_count"], fields["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "head_dim": fields.get("llama.rope.dimension_count", hidden // heads),
        "hidden_act": "silu",
        "rms_norm_eps": float(
            f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"
        ),  # stored as float32
        "rope_theta": fields["llama.rope.freq_base"],
        "max_position_embeddings": fields["llama.context_length"],
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _write_tokenizer(fields: dict, folder: Path) -> None:
    """Byte-level BPE; the `smollm` pre-tokenizer is GPT-2's split with every digit on its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if fields["tokenizer.ggml.pre"] != "smollm":
        raise UserError(
            f"GGUF pre-tokenizer {fields['tokenizer.ggml.pre']!r} is not known; only 'smollm' is"
        )
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind == _CONTROL, normalized=False)
            for token, kind in zip(tokens, types)
            if kind in (_CONTROL, _USER_DEFINED)
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": fields["llama.context_length"],
            **{
                name: tokens[fields[f"tokenizer.ggml.{key}_token_id"]]
                for name, key in named.items()
            },
            "chat_template": fields["tokenizer.chat_template"],
        },
    )


def _write_weights(tensors: list, config: dict, file: Path) -> None:
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file
    from tqdm import tqdm

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in tqdm(
        tensors, desc="converting weights", unit="tensor", leave=False, disable=None
    ):
        stem = tensor.name.removesuffix(".weight")
        layer = ""
        if stem.startswith("blk."):
            _, index, stem = stem.split(".", 2)
            layer = f"model.layers.{index}."
        if stem not in _TENSOR_NAMES:
            raise UserError(
                f"{file.parent}: GGUF tensor {tensor.name} is not part of a Llama-type model"
            )
        value = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if stem in heads:
            value = _rotate_half_order(value, heads[stem])
        weights[f"{layer}{_TENSOR_NAMES[stem]}.weight"] = value.to(torch.bfloat16).contiguous()
    save_file(weights, file, metadata={"format": "pt"})


def _rotate_half_order(weight, heads: int):
    """Undo GGUF's interleaving of the two halves of each query and key head.

    There, rotary pairs lie side by side.
    """
    rows, columns = weight.shape
    return (
        weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
    )


def _write_json(file: Path, value: dict) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
