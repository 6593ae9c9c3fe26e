"""The files that hold a model's weights: opened, or said what they are instead."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from dftfast.model.tensor_file import TensorFile
from dftfast.runtime.errors import UserError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"


def open_weights(folder: Path, stack: ExitStack) -> dict[str, TensorFile]:
    """Tensor name -> the open safetensors file that holds it.

    A single file is taken before the shards of an index, as transformers does.

    Raises:
        UserError: there are none, or what is there is something else; the message says what.
    """
    if (folder / SINGLE).exists() or not (folder / INDEX).exists():
        paths = [folder / SINGLE]
    else:
        paths = _shards(folder / INDEX)
    files = {}
    for path in paths:
        try:
            opened = stack.enter_context(TensorFile(path))
        except FileNotFoundError:
            raise UserError(f"{path}: no such weight file{_instead(folder)}") from None
        except (OSError, ValueError) as wrong:
            raise UserError(f"{path}: {_what_it_is(path, wrong)}") from None
        files.update(dict.fromkeys(opened.keys(), opened))
    return files


def _shards(index: Path) -> list[Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({index.parent / Path(file).name for file in weight_map.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise UserError(
            f"{index}: not a safetensors index ({type(wrong).__name__}: {wrong})"
        ) from None


def _instead(folder: Path) -> str:
    """What is there in place of the weights, and what to do with it."""
    has = lambda pattern: any(folder.glob(pattern))
    if (folder / "adapter_config.json").exists():
        return (
            ": the folder holds an adapter; give its base as the model and the folder as the "
            "adapter (dftfast generate --adapter), or merge the two with PEFT"
        )
    if has("pytorch_model*.bin") or has("*.pth") or has("*.pt"):
        return (
            ": the weights are in pickled files (.bin, .pth), which can run code and are not read; "
            "load them with transformers and save_pretrained, which writes safetensors"
        )
    if has("*.gguf"):
        return ": the weights are in GGUF; take the safetensors checkpoint that it was made from"
    if has("consolidated*.safetensors"):
        return (
            ": consolidated.safetensors has Mistral's own names; take the Hugging Face files of the"
            " checkpoint (model-*.safetensors)"
        )
    if has("model-*-of-*.safetensors"):
        return f": there are shards but no {INDEX}; fetch the index as well"
    return "; a model folder holds config.json and *.safetensors"


def _what_it_is(path: Path, wrong: Exception) -> str:
    try:
        with open(path, "rb") as file:
            start = file.read(len(_POINTER))
    except (OSError, ValueError):  # not a name of a file at all
        start = b""
    if start == _POINTER:
        return (
            "a pointer of Git LFS, not the weights; run `git lfs pull` in the folder, or give the "
            "hub id"
        )
    return f"damaged or truncated safetensors file ({wrong})"
