"""A random Qwen3 with a tokenizer of single bytes, in Hugging Face format."""

from __future__ import annotations

import json
from pathlib import Path

from families import save_random_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<pad>", "<start>", "<end>"]
TEMPLATE = (
    "{% for m in messages %}<start>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<start>{% endif %}"
)


def save_byte_model(folder: Path, context: int = 4096) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_random_model("qwen3", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": context}))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: i for i, token in enumerate(SPECIAL + alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(SPECIAL)
    core.save(str(folder / "tokenizer.json"))
    config = {
        "eos_token": "<end>",
        "chat_template": TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
