"""Weights in and out: Hugging Face-format safetensors and the packed decoder."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.nf4 import check_bitsandbytes
from dftfast.model.quantised import hold_in_nf4, matrices_in_nf4
from dftfast.model.shard import put, shard
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_folder

FLOATS = ("BF16", "F16", "F32", "F64")
SHARD_BYTES = 4 << 30
IGNORED = ("rotary_emb.inv_freq",)  # buffers that old checkpoints carry


def load_decoder(
    folder: str | Path,
    dtype: torch.dtype = torch.bfloat16,
    device: str | torch.device = "cpu",
    sharded: bool = False,
    quantization: str = "none",
) -> Decoder:
    """Build a decoder and read its weights from `folder`, converting to `dtype`.

    Args:
        sharded: read only this process's part of the layers.
        quantization: "nf4" holds the layers' matrices in four bits; never whole on `device`.

    Raises:
        UserError: config or weight files missing or damaged; a tensor missing, unexpected or
            misshapen (the message names the tensor).
    """
    check_model(folder)  # before anything of the sizes that config.json names is allocated
    nf4 = quantization == "nf4"
    decoder = Decoder(ModelConfig.from_folder(folder), dtype, "meta" if sharded or nf4 else device)
    if nf4:
        check_bitsandbytes()
        hold_in_nf4(decoder, device)
    elif sharded:
        shard(decoder, device)
    read_weights(decoder, folder)
    return decoder


def check_model(folder: str | Path) -> None:
    """Raise the UserErrors of `load_decoder` from config and file headers alone."""
    decoder = Decoder(ModelConfig.from_folder(folder), device="meta")
    with ExitStack() as stack:
        check_names(hf_shapes(decoder), open_weights(Path(folder), stack), Path(folder))


def fingerprint(folder: Path) -> str:
    """Hash of names, sizes and times of a model's files, and of those small enough to read."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja"):
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} ".encode())
            digest.update(
                file.read_bytes()
                if file.suffix != ".safetensors"
                else str(stat.st_mtime_ns).encode()
            )
    return digest.hexdigest()


def read_weights(decoder: Decoder, folder: str | Path) -> None:
    """Copy the weights in `folder` into `decoder`, after checking every name and shape."""
    with ExitStack() as stack:
        files = open_weights(Path(folder), stack)
        check_names(hf_shapes(decoder), files, Path(folder))
        in_nf4 = matrices_in_nf4(decoder)
        for names, parameter, _ in packed_weights(decoder):
            try:
                parts = [files[name].get_tensor(name) for name in names]
            except (SafetensorError, OSError) as wrong:
                raise UserError(f"{folder}: tensor {names[0]}: {wrong}") from None
            value = parts[0] if len(parts) == 1 else torch.cat(parts)
            if parameter in in_nf4:
                in_nf4[parameter].quantise(value.to(decoder.embed.device))
            else:
                put(parameter.data, value)
    decoder.version += 1


def packed_weights(decoder: Decoder) -> Iterator[tuple[list[str], nn.Parameter, list[int]]]:
    """Every weight, with the Hugging Face tensors that it packs by rows and their row counts."""

    def single(name: str, parameter: nn.Parameter) -> tuple[list[str], nn.Parameter, list[int]]:
        return [name], parameter, [len(parameter)]

    yield single("model.embed_tokens.weight", decoder.embed)
    for index, layer in enumerate(decoder.layers):
        prefix = f"model.layers.{index}."
        yield single(prefix + "input_layernorm.weight", layer.input_norm)
        yield single(prefix + "post_attention_layernorm.weight", layer.post_norm)
        if layer.q_norm is not None and layer.k_norm is not None:
            yield single(prefix + "self_attn.q_norm.weight", layer.q_norm)
            yield single(prefix + "self_attn.k_norm.weight", layer.k_norm)
        for module in (layer.qkv, layer.o, layer.gate_up, layer.down):
            yield [f"{prefix}{name}.weight" for name in module.names], module.weight, module.splits
            if module.bias is not None:
                yield [f"{prefix}{name}.bias" for name in module.names], module.bias, module.splits
    yield single("model.norm.weight", decoder.norm)
    if decoder.head is not None:
        yield single("lm_head.weight", decoder.head)


def hf_shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    """The shape of every weight under its Hugging Face name."""
    weights = packed_weights(decoder)
    return {
        n: (rows, *p.shape[1:]) for names, p, splits in weights for n, rows in zip(names, splits)
    }


def hf_views(decoder: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its Hugging Face name, as a view into the decoder's packed tensors.

    Of a base in four bits, as a view into what it is decoded to, finished adapters added.
    """
    in_nf4 = matrices_in_nf4(decoder)
    for names, parameter, splits in packed_weights(decoder):
        whole = in_nf4[parameter].base() if parameter in in_nf4 else parameter.data
        yield from zip(names, whole.split(splits))


def open_weights(folder: Path, stack: ExitStack) -> dict[str, safe_open]:
    """Tensor name -> the open safetensors file that holds it."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            paths = sorted({folder / Path(file).name for file in weight_map.values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
            raise UserError(
                f"{index}: not a safetensors index ({type(wrong).__name__}: {wrong})"
            ) from None
    else:
        paths = [folder / "model.safetensors"]
    files = {}
    for path in paths:
        try:
            opened = stack.enter_context(safe_open(path, framework="pt"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such weight file") from None
        except (SafetensorError, OSError, ValueError) as wrong:
            raise UserError(f"{path}: damaged or truncated safetensors file ({wrong})") from None
        files.update(dict.fromkeys(opened.keys(), opened))
    return files


def check_names(
    expected: dict[str, tuple[int, ...]], files: dict[str, safe_open], folder: Path
) -> None:
    tied_head = {"lm_head.weight"} - expected.keys()
    extra = [
        n for n in files if n not in expected and n not in tied_head and not n.endswith(IGNORED)
    ]
    missing = [n for n in expected if n not in files]
    for names, fault in ((missing, "is missing"), (extra, "is not part of this architecture")):
        if names:
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UserError(
                f"{folder}: tensor {names[0]} {fault}{others}; does config.json belong to these "
                "weights?"
            )
    for name, wanted in expected.items():
        stored = files[name].get_slice(name)
        shape = tuple(stored.get_shape())
        if stored.get_dtype() not in FLOATS:
            raise UserError(
                f"{folder}: tensor {name} is of type {stored.get_dtype()}; "
                f"read are {', '.join(FLOATS)}"
            )
        if shape != wanted:
            raise UserError(
                f"{folder}: tensor {name} has shape {shape}; config.json asks for {wanted}"
            )


def save_decoder(decoder: Decoder, folder: str | Path, source: str | Path) -> None:
    """Write `folder` in Hugging Face format: weights, and `source`'s config and tokenizer files.

    The folder appears under its name only when it is complete. An adapter in training is not
    included.
    """
    folder, source = Path(folder), Path(source)
    with atomic_folder(folder) as partial:
        copy_companions(source, partial, decoder.embed.dtype)
        write_weights(decoder, partial)


def copy_companions(source: Path, folder: Path, dtype: torch.dtype) -> None:
    """Copy config and tokenizer files, noting the weights' type in the config."""
    for path in sorted(source.iterdir()):
        if (
            path.is_file()
            and path.suffix in (".json", ".jinja", ".txt", ".model")
            and "safetensors" not in path.name
        ):
            shutil.copy(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_weights(decoder: Decoder, folder: Path) -> None:
    """Write the weights as one safetensors file, or as shards with an index."""
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, view in hf_views(decoder):
        size += view.nbytes
        total += view.nbytes
        if size > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = view.nbytes
        shards[-1][name] = view.detach().cpu().clone()
    weight_map = {}
    for number, tensors in enumerate(shards, 1):
        file = (
            "model.safetensors"
            if len(shards) == 1
            else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        save_tensors(tensors, folder / file)
        weight_map.update(dict.fromkeys(tensors, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=2), encoding="utf-8"
        )


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises OSError when it cannot be written (the library's own error hides the errno).
    """
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as wrong:
        number = re.search(r"os error (\d+)", str(wrong))
        raise OSError(int(number[1]) if number else errno.EIO, str(wrong), str(path)) from None
