"""The Qwen3 presets fit the cards that they name, by the memory planner, and run to the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from tiny_run import flags, save_tiny_model

from dftfast.config import load_config
from dftfast.model.config import ModelConfig
from dftfast.rollout.memory import GIB, RunShape, num_weights, plan_memory
from dftfast.train import main

# bytes of the card that a preset names, less what the driver and the libraries take
CARDS = {"qwen3-4b-24gb": 24e9 * 0.95}
CARD = 48e9 * 0.95  # of the others
ROWS = 64  # texts sampled at once, at least, beside all that stays
SHAPES = {  # hidden, intermediate, layers, heads, tied, billions of weights: the models' own cards
    "qwen3-4b": (2560, 9728, 36, 32, True, 4.0),
    "qwen3-4b-24gb": (2560, 9728, 36, 32, True, 4.0),
    "qwen3-4b-48gb": (2560, 9728, 36, 32, True, 4.0),
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
    card = CARDS.get(name, CARD)
    for rank, tokens in ((c.sft.rank, c.sft.micro_tokens), (c.dft.rank, c.dft.micro_tokens)):
        shape = RunShape(rank, ROWS, 600, tokens, c.run.activation_checkpointing == 1)
        plan = plan_memory(model, shape, capacity=int(card))
        assert plan.fits, f"{name}: {plan.peak / GIB:.1f} GiB of {card / GIB:.1f}"


def tiny_of(name: str, corpus: Path, folder: Path) -> Path:
    """A model of the preset's family and ties, a hundred thousand times smaller."""
    save_tiny_model(folder, corpus)
    if SHAPES[name][4]:
        return folder
    config = transformers.Qwen3Config.from_pretrained(folder, tie_word_embeddings=False)
    torch.manual_seed(0)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


SMALLER = {  # what a run of seconds needs; every other key is the preset's own
    **{"data.limit": 250, "data.validation_share": 0.15, "data.held_out_share": 0.15},
    **{"sft.max_texts": 60, "sft.epochs": 3, "sft.batch_tokens": 512, "sft.fractions": "1.0"},
    **{"sft.learning_rates": 0.01, "sft.method": "full", "sweep.temperatures": "1.0"},
    **{"sweep.top_p": "1.0", "sweep.top_k": "0", "sweep.prompts": 20, "dft.phases": 1},
    **{"dft.prompts": 24, "dft.candidates": 2},
    **{"dft.validation_prompts": 12, "evaluation.prompts": 20, "evaluation.rounds": 20},
    **{"evaluation.draws": 1, "evaluation.embedder": "character-ngrams"},
    **{"run.tracker": "none", "model.device": "cpu", "model.dtype": "float32"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_preset_runs_from_corpus_to_report(name, corpus, tmp_path):
    model = tiny_of(name, corpus, tmp_path / "model")
    out = tmp_path / "run"
    settings = {"model.name": model, "data.train": corpus, "run.folder": out, **SMALLER}
    main(["--preset", name, *flags(settings)])
    results = json.loads((out / "results.json").read_text())
    assert "dft" in results["systems"] and results["verdicts"]
    merged = transformers.AutoModelForCausalLM.from_pretrained(out / "merged")
    assert merged.config.tie_word_embeddings == SHAPES[name][4]
