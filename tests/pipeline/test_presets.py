"""The Qwen3 presets fit the cards that they name, by the memory planner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dftfast.config import load_config
from dftfast.model.config import ModelConfig
from dftfast.rollout.memory import GIB, RunShape, num_weights, plan_memory

CARD = 48e9 * 0.95  # bytes of an RTX 6000 Ada, less what the driver and the libraries take
SHAPES = {  # hidden, intermediate, layers, heads, tied, billions of weights: the models' own cards
    "qwen3-4b": (2560, 9728, 36, 32, True, 4.0),
    "qwen3-8b": (4096, 12288, 36, 32, False, 8.2),
    "qwen3-14b": (5120, 17408, 40, 40, False, 14.8),
}


def qwen3(name: str, folder: Path) -> ModelConfig:
    """The model's own config.json, as far as its size goes, as a run reads it."""
    hidden, intermediate, layers, heads, tied, _ = SHAPES[name]
    raw = {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 40960,
        "eos_token_id": 151645,
    }
    (folder / "config.json").write_text(json.dumps(raw))
    return ModelConfig.from_folder(folder)


@pytest.mark.parametrize("name", SHAPES)
def test_a_preset_fits_its_card(name, tmp_path):
    model, c = qwen3(name, tmp_path), load_config(name)
    assert num_weights(model) == pytest.approx(SHAPES[name][-1] * 1e9, rel=0.02)
    for rank, tokens in ((c.sft.rank, c.sft.micro_tokens), (c.dft.rank, c.dft.micro_tokens)):
        shape = RunShape(rank, 64, 600, tokens, c.run.activation_checkpointing == 1)
        plan = plan_memory(model, shape, capacity=int(CARD))
        assert plan.fits, f"{name}: {plan.peak / GIB:.1f} GiB of {CARD / GIB:.1f}"
