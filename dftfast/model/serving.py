"""The small files beside saved weights, by which other tools prompt and sample as training did.

transformers and vLLM take the sampler from generation_config.json and the prompt from the chat
template without being asked; what a base model says there is not what its fine-tuned result was
trained and measured with.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from dftfast.model.config import read_json
from dftfast.model.tokenizer import Tokenizer

COPIED = (".json", ".jinja", ".txt", ".model")
# Of a base's generation_config.json: what changes the distribution that is sampled from.
_SAMPLING = re.compile(
    r"temperature|top_|min_p|typical_p|.*_cutoff|.*penalty|.*beam|.*length|.*tokens$|do_sample|"
    r"no_repeat|bad_words|suppress|forced|sequence_bias|early_stopping|max_new|min_new"
)


def write_companions(
    source: Path,
    folder: Path,
    changed: dict,
    tokenizer: Tokenizer | None = None,
    min_p: float = 0.0,
) -> None:
    """Copy the config and tokenizer files of `source`, and settle prompt and sampler.

    Args:
        changed: what config.json is to say of the weights beside it.
        tokenizer: its template and end tokens are written; None is that of `source`, where it has
            one.
        min_p: the one setting of the result's sampler that is not off.
    """
    for path in sorted(source.iterdir()):
        known = path.suffix in COPIED and "safetensors" not in path.name
        if path.is_file() and known:
            shutil.copyfile(path, folder / path.name)
    config = read_json(folder / "config.json")
    config.pop("torch_dtype", None)
    write_object(folder / "config.json", config | changed)
    if tokenizer is None and (source / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_folder(source)
    if tokenizer is not None:
        write_generation_config(folder, tokenizer.eos_ids, min_p)
        write_template(folder, tokenizer.chat_template)


def write_generation_config(
    folder: Path, eos_ids: tuple[int, ...], min_p: float = 0.0, temperature: float = 1.0
) -> None:
    """The sampler of the result: its own distribution, ended by any of its end tokens.

    What is off is written too, for llama.cpp cuts at min-p 0.05 where a file does not say.
    """
    path = folder / "generation_config.json"
    before = read_json(path) if path.is_file() else {}
    kept = {name: value for name, value in before.items() if not _SAMPLING.match(name)}
    sampler = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    sampler["min_p"] = min_p
    first, *others = eos_ids
    ends = [first, *others] if others else first
    write_object(path, kept | sampler | {"eos_token_id": ends})


def write_template(folder: Path, template: str | None) -> None:
    """The chat template as it was rendered, in the one place that every tool reads first."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    if config.pop("chat_template", None) is not None:
        write_object(path, config)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def write_object(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
