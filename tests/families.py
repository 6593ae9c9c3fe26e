"""Small random models of every supported family, saved by transformers, for parity tests."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from dftfast.model.attention import packed_causal

SIZES = dict(
    vocab_size=259, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6
)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "qwen3": lambda: transformers.Qwen3Config(
        **SIZES, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True
    ),
    "qwen3-untied": lambda: transformers.Qwen3Config(
        **SIZES, num_key_value_heads=3, head_dim=8, tie_word_embeddings=False
    ),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, num_key_value_heads=2),
    "llama": lambda: transformers.LlamaConfig(
        **SIZES, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "mistral": lambda: transformers.MistralConfig(
        **SIZES, num_key_value_heads=2, head_dim=16, sliding_window=512
    ),
    "smollm3": lambda: transformers.SmolLM3Config(
        **SIZES, num_key_value_heads=2, no_rope_layer_interval=2, pad_token_id=0
    ),
    "qwen3-yarn": lambda: transformers.Qwen3Config(
        **SIZES, num_key_value_heads=2, head_dim=16, rope_parameters=YARN
    ),
    "llama3-rope": lambda: transformers.LlamaConfig(
        **SIZES, num_key_value_heads=6, max_position_embeddings=512, rope_parameters=LLAMA3_ROPE
    ),
}


def save_random_model(family: str, folder: Path, **save_options) -> transformers.PreTrainedModel:
    """A random fp32 model of this family, also written to `folder`; biases and norms, too."""
    torch.manual_seed(0)
    config = FAMILIES[family]()
    config.eos_token_id = 2
    model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(4.0)  # logits of a real model's size
    model.save_pretrained(folder, **save_options)
    return model


def packed_logits(decoder, documents):
    """Logits of each document, computed in one packed forward."""
    offsets = torch.tensor([0] + [len(d) for d in documents]).cumsum(0)
    positions = torch.cat([torch.arange(len(d)) for d in documents])
    hidden = decoder(torch.cat(documents), positions, packed_causal(offsets))
    return (hidden @ decoder.head_weight.T).split([len(d) for d in documents])
