"""A tiny random Qwen3 with its tokenizer, a corpus of docstrings, and runs of the job on both."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from dftfast.config import parse_command_line
from dftfast.pipeline import Run
from dftfast.pipeline.run_folder import RunFolder
from dftfast.pipeline.stage_sft import fine_tune

SPECIAL = ["<pad>", "<start>", "<end>"]
TEMPLATE = (
    "{% for m in messages %}<start>{{ m.content[-40:] }}{% endfor %}"
    "{% if add_generation_prompt %}<start>{% endif %}"
)
MODULES = """
argparse datetime decimal email.message logging pathlib subprocess tarfile zipfile threading
unittest.case unittest.mock socket ssl tempfile shutil typing inspect doctest difflib fractions
statistics random heapq ipaddress http.client
""".split()


def short_docstrings() -> list[dict[str, str]]:
    """First lines of docstrings of the standard library, 4 to 16 words."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                line = (ast.get_docstring(node) or "").split("\n")[0]
                if 4 <= len(line.split()) <= 16:
                    found.setdefault(line, f"{module.__name__}.{node.name}")
    return [{"text": text, "title": title} for text, title in sorted(found.items())]


def save_corpus(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in short_docstrings()), encoding="utf-8")
    return path


def save_tiny_model(folder: Path, corpus: Path) -> Path:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([json.loads(line)["text"] for line in open(corpus)], trainer)
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=core.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=True,
        eos_token_id=2,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    core.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<end>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def flags(settings: dict[str, object]) -> list[str]:
    return [f"--{key}={value}" for key, value in settings.items()]


def options(model, corpus, out) -> list[str]:
    """A run that is small, and long enough for DFT to show an effect."""
    settings = {
        "model.name": model,
        "model.dtype": "float32",
        "model.device": "cpu",
        "data.train": corpus,
        "run.folder": out,
        "data.validation_share": 0.15,
        "data.held_out_share": 0.15,
        "evaluation.embedder": "character-ngrams",
        "sft.method": "full",
        "sft.learning_rates": 0.01,
        "sft.epochs": 6,
        "sft.batch_tokens": 1024,
        "sweep.temperatures": "0.7,1.0",
        "sweep.prompts": 40,
        "evaluation.prompts": 40,
        "evaluation.rounds": 40,
        "dft.phases": 1,
        "dft.prompts": 120,
        "dft.candidates": 6,
        "dft.validation_prompts": 40,
        "dft.rank": 8,
        "dft.bake_temperature": 1.0,
    }
    return flags(settings)


SHORT = {
    "sft.epochs": 2,
    "sft.max_texts": 60,
    "sweep.temperatures": "1.0",
    "sweep.prompts": 20,
    "evaluation.prompts": 20,
    "evaluation.rounds": 20,
    "dft.phases": 2,
    "dft.prompts": 24,
    "dft.candidates": 2,
    "dft.validation_prompts": 8,
    "run.tracker": "none",
    "data.limit": 250,
    "run.checkpoint_steps": 1,
    "sft.batch_tokens": 512,
}


def short_options(model, corpus) -> list[str]:
    """A run of seconds with many checkpoints."""
    return [*options(model, corpus, "unused"), *flags(SHORT)]


def fine_tuned(model, corpus, out) -> Run:
    """A run after its SFT."""
    job = Run(parse_command_line([*short_options(model, corpus), f"--run.folder={out}"]))
    with RunFolder(out):
        fine_tune(job)
    return job


def interrupt(*_):
    raise KeyboardInterrupt
