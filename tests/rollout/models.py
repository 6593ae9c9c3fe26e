"""Small random models for the rollout tests, with the transformers model of the same weights."""

from __future__ import annotations

import random

import torch

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.weights import load_decoder

SIZES = dict(
    vocab_size=211, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
    num_hidden_layers=2, max_position_embeddings=512, eos_token_id=None, bos_token_id=None, pad_token_id=0,
)  # fmt: skip


def tiny_reference(family: str, folder):
    """The decoder in fp32 and transformers' model, of the same random weights, saved in `folder` on the way."""
    import transformers

    torch.manual_seed(0)
    tied = family == "llama"
    kind = {"qwen3": "Qwen3", "llama": "Llama"}[family]
    config = getattr(transformers, f"{kind}Config")(**SIZES, tie_word_embeddings=tied)
    reference = getattr(transformers, f"{kind}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # the default start is nearly uniform in its logits
    reference.save_pretrained(folder)
    return load_decoder(folder, torch.float32, "cpu"), reference


def tiny_decoder(family: str, dtype: torch.dtype) -> Decoder:
    s = SIZES
    config = ModelConfig(
        model_type=family,
        vocab_size=s["vocab_size"],
        hidden_size=s["hidden_size"],
        intermediate_size=s["intermediate_size"],
        num_layers=s["num_hidden_layers"],
        num_heads=s["num_attention_heads"],
        num_kv_heads=s["num_key_value_heads"],
        head_dim=s["head_dim"],
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=None,
        tie_word_embeddings=family == "llama",
        qk_norm=family == "qwen3",
        attention_bias=False,
        max_position_embeddings=s["max_position_embeddings"],
        eos_token_ids=(),
    )
    decoder = Decoder(config, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.1 * noise)
    return decoder


def random_prompt(length: int, vocab_size: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(vocab_size) for _ in range(length)]
