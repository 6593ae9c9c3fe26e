"""Weights in and out: Hugging Face-format safetensors and the packed decoder."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.nf4 import check_bitsandbytes
from dftfast.model.quantised import hold_in_nf4, matrices_in_nf4
from dftfast.model.serving import write_companions
from dftfast.model.shard import put, shard
from dftfast.model.tensor_file import FLOATS, TensorFile
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weight_files import open_weights
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_folder

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
log = logging.getLogger(__name__)
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
    decoder = Decoder(read_config(folder), dtype, "meta" if sharded or nf4 else device)
    if nf4:
        check_bitsandbytes()
        hold_in_nf4(decoder, device)
    elif sharded:
        shard(decoder, device)
    read_weights(decoder, folder)
    return decoder


def check_model(folder: str | Path) -> None:
    """Raise the UserErrors of `load_decoder` from config and file headers alone."""
    config = ModelConfig.from_folder(folder)
    with ExitStack() as stack:
        files = open_weights(Path(folder), stack)
        check_names(hf_shapes(Decoder(config, device="meta")), files, Path(folder))


def read_config(folder: str | Path) -> ModelConfig:
    """The model's config, untied where the files have a head of their own.

    A checkpoint whose embedding and head were trained apart may still say that they are tied.
    """
    config = ModelConfig.from_folder(folder)
    with ExitStack() as stack:
        files = open_weights(Path(folder), stack)
        pair = (HEAD, EMBEDDING)
        if not config.tie_word_embeddings or not set(pair) <= files.keys():
            return config
        if not all(files[name].dtype(name) in FLOATS for name in pair):
            return config  # `read_weights` refuses the type
        head, embedding = (files[name].get_tensor(name) for name in (HEAD, EMBEDDING))
        if torch.equal(head, embedding):
            return config
    log.warning(
        "%s: config.json ties the head to the embedding, but the weights have another lm_head; it "
        "is kept",
        folder,
    )
    return replace(config, tie_word_embeddings=False)


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
            except (ValueError, OSError) as wrong:
                raise UserError(f"{folder}: tensor {names[0]}: {wrong}") from None
            value = parts[0] if len(parts) == 1 else torch.cat(parts)
            if not value.isfinite().all():
                raise UserError(
                    f"{folder}: tensor {names[0]} holds values that are not finite: the checkpoint "
                    "is damaged, or is of a training that diverged; take another"
                )
            if parameter in in_nf4:
                in_nf4[parameter].quantise(value.to(decoder.embed.device))
            else:
                put(parameter.data, value)
    decoder.version += 1


def packed_weights(decoder: Decoder) -> Iterator[tuple[list[str], nn.Parameter, list[int]]]:
    """Every weight, with the Hugging Face tensors that it packs by rows and their row counts."""

    def single(name: str, parameter: nn.Parameter) -> tuple[list[str], nn.Parameter, list[int]]:
        return [name], parameter, [len(parameter)]

    yield single(EMBEDDING, decoder.embed)
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
        yield single(HEAD, decoder.head)


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


def check_names(
    expected: dict[str, tuple[int, ...]], files: dict[str, TensorFile], folder: Path
) -> None:
    tied_head = {HEAD} - expected.keys()
    extra = [
        n for n in files if n not in expected and n not in tied_head and not n.endswith(IGNORED)
    ]
    missing = [n for n in expected if n not in files]
    if missing == [HEAD]:
        raise UserError(
            f"{folder}: tensor {HEAD} is missing; where the head is the embedding, config.json "
            "says so: tie_word_embeddings = true"
        )
    for names, fault in ((missing, "is missing"), (extra, "is not part of this architecture")):
        if names:
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UserError(
                f"{folder}: tensor {names[0]} {fault}{others}; does config.json belong to these "
                "weights?"
            )
    for name, wanted in expected.items():
        shape, dtype = files[name].shape(name), files[name].dtype(name)
        if dtype not in FLOATS:
            raise UserError(
                f"{folder}: tensor {name} is of type {dtype}; read are {', '.join(FLOATS)}"
            )
        if shape != wanted:
            raise UserError(
                f"{folder}: tensor {name} has shape {shape}; config.json asks for {wanted}"
            )


def save_decoder(
    decoder: Decoder,
    folder: str | Path,
    source: str | Path,
    tokenizer: Tokenizer | None = None,
    min_p: float = 0.0,
) -> None:
    """Write `folder` in Hugging Face format: weights in the dtype of those in `source`, and its
    config and tokenizer files, settled as `write_companions` does.

    The folder appears under its name only when it is complete. An adapter in training is not
    included.
    """
    folder, source = Path(folder), Path(source)
    dtype = stored_dtype(source)
    with atomic_folder(folder) as partial:
        name = str(dtype).removeprefix("torch.")
        changed = {"dtype": name, "tie_word_embeddings": decoder.head is None}
        write_companions(source, partial, changed, tokenizer, min_p)
        write_weights(decoder, partial, dtype)


def stored_dtype(folder: Path) -> torch.dtype:
    """That of the embedding in the files of a model."""
    with ExitStack() as stack:
        files = open_weights(folder, stack)
        return FLOATS[files[EMBEDDING].dtype(EMBEDDING)]


def write_weights(decoder: Decoder, folder: Path, dtype: torch.dtype) -> None:
    """Write the weights in this dtype as one safetensors file, or as shards with an index."""
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, view in hf_views(decoder):
        nbytes = view.numel() * dtype.itemsize
        size += nbytes
        total += nbytes
        if size > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = nbytes
        shards[-1][name] = view.detach().to("cpu", dtype, copy=True).contiguous()
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
