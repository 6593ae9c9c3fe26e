"""The sizes of a model by its name, without its weights."""

from __future__ import annotations

from pathlib import Path

from dftfast.model.config import ModelConfig
from dftfast.model.pretrained import resolve_model


def _qwen3(hidden: int, inner: int, layers: int, heads: int, tied: bool) -> ModelConfig:
    return ModelConfig(
        model_type="qwen3",
        vocab_size=151_936,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=8,
        head_dim=128,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        rope_scaling=None,
        tie_word_embeddings=tied,
        qk_norm=True,
        attention_bias=False,
        max_position_embeddings=40_960,
        eos_token_ids=(151_645,),
    )


# as in the config.json of each, so that a plan needs no hub
KNOWN = {
    "Qwen/Qwen3-0.6B": _qwen3(1024, 3072, 28, 16, True),
    "Qwen/Qwen3-1.7B": _qwen3(2048, 6144, 28, 16, True),
    "Qwen/Qwen3-4B": _qwen3(2560, 9728, 36, 32, True),
    "Qwen/Qwen3-8B": _qwen3(4096, 12_288, 36, 32, False),
    "Qwen/Qwen3-14B": _qwen3(5120, 17_408, 40, 40, False),
    "Qwen/Qwen3-32B": _qwen3(5120, 25_600, 64, 64, False),
}


def model_sizes(name: str | None) -> ModelConfig:
    """Sizes of a known model, or of the folder or hub id; None is the default model.

    Raises:
        UserError: there is no such model, or it cannot be fetched.
    """
    if name in KNOWN and not Path(name).is_dir():
        return KNOWN[name]
    return ModelConfig.from_folder(resolve_model(name))
