"""Adapters on disk, in the format of PEFT: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dftfast.model.config import read_json
from dftfast.model.decoder import Decoder
from dftfast.model.lora import lora_layers
from dftfast.model.weights import save_tensors
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_folder

EMBEDDING, HEAD = "base_model.model.model.embed_tokens", "base_model.model.lm_head"
# Fields of a LoraConfig that say how an adapter came to be, or where it is, and not what it adds.
HARMLESS = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path"),
    *("revision", "inference_mode", "r", "lora_alpha", "use_rslora", "lora_dropout"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("megatron_config", "megatron_core", "runtime_config", "qalora_group_size"),
    *("eva_config", "arrow_config", "init_lora_weights", "bias"),
}
# Those that leave the base's weights alone: A is drawn at random, or along the data, B is zero.
STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "true", "false")
# Of a rank pattern and its like: how PEFT's other forms of the same adapter are made plain.
CURE = "merge it into its base with PEFT (merge_and_unload, save_pretrained) and give that model"


@dataclass(frozen=True)
class Adapter:
    """One LoRA as PEFT names it: y += scale·B A x.

    The tensors are fp32, A [rank, in] and B [out, rank] per projection.

    Adapters that are trained here cover the linear layers. An imported one may also adapt the
    embedding and the head: once its product is added to their weights they cost nothing more, in
    training or sampling. Not so where the two are tied: PEFT adapts one of them and leaves the
    other, which no single weight can express, so it is refused.
    """

    tensors: dict[str, Tensor]
    rank: int
    scale: float

    def save(self, folder: str | Path, base: str | Path, temperature: float | None = None) -> None:
        """Write a folder for `peft.PeftModel.from_pretrained`; it appears only when complete.

        Args:
            base: of the adapter; a snapshot in the hub's cache is named by its id and revision.
            temperature: that the adapter with its base is to be sampled at, where it is known.
        """
        modules = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in self.tensors}
        name, revision = hub_name(base)
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": name,
            **({"revision": revision} if revision else {}),
            "r": self.rank,
            "lora_alpha": self.scale * self.rank,
            "target_modules": sorted(modules),
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
            # the one field that PEFT leaves to others
            **({"auto_mapping": {"sampling_temperature": temperature}} if temperature else {}),
        }
        with atomic_folder(folder) as partial:
            (partial / "adapter_config.json").write_text(
                json.dumps(config, indent=2) + "\n", encoding="utf-8"
            )
            save_tensors(self.tensors, partial / "adapter_model.safetensors")

    @classmethod
    def load(cls, folder: str | Path) -> Adapter:
        """Read a PEFT LoRA folder.

        Raises:
            UserError: files missing or damaged, or a variant of LoRA that the decoder does not
                compute.
        """
        folder = Path(folder)
        path = folder / "adapter_config.json"
        config = read_json(path)
        if config.get("peft_type") != "LORA":
            raise UserError(
                f"{path}: peft_type {config.get('peft_type')!r} is not supported (LORA is)"
            )
        check_plain(config, path)
        try:
            rank, alpha = int(config["r"]), float(config["lora_alpha"])
            scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
            if rank < 1 or not math.isfinite(scale):
                raise ValueError(f"r = {rank}, lora_alpha = {alpha}")
        except (KeyError, TypeError, ValueError, ArithmeticError) as wrong:
            raise UserError(f"{path}: r and lora_alpha must be numbers ({wrong!r})") from None
        weights = folder / "adapter_model.safetensors"
        try:
            tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
        except FileNotFoundError:
            raise UserError(
                f"{weights}: not found (adapters in pickled .bin files are not read: load it with "
                "PEFT and save_pretrained)"
            ) from None
        except (
            SafetensorError,
            OSError,
            ValueError,
            RuntimeError,
        ) as wrong:  # RuntimeError: a type without values
            raise UserError(f"{weights}: damaged or truncated safetensors file ({wrong})") from None
        return cls(tensors, rank, scale)

    def check(self, decoder: Decoder) -> None:
        """Raise UserError unless every tensor belongs to `decoder` and has its shape.

        It may belong to a projection, to the embedding or to the head; `decoder` holds the base's
        weights.
        """
        expected = {}
        vocab, hidden = decoder.embed.shape
        if decoder.head is not None:
            expected[f"{EMBEDDING}.lora_embedding_A"] = (self.rank, vocab)
            expected[f"{EMBEDDING}.lora_embedding_B"] = (hidden, self.rank)
            expected[f"{HEAD}.lora_A.weight"] = (self.rank, hidden)
            expected[f"{HEAD}.lora_B.weight"] = (vocab, self.rank)
            for name, weight in ((EMBEDDING, decoder.embed), (HEAD, decoder.head)):
                # PEFT saves the base's weight beside such adapters.
                copy = self.tensors.get(f"{name}.base_layer.weight")
                if (
                    copy is not None
                    and copy.shape == weight.shape
                    and torch.equal(copy.to(weight), weight)
                ):
                    expected[f"{name}.base_layer.weight"] = tuple(weight.shape)
        for prefix, module in lora_layers(decoder).items():
            layer = prefix.removesuffix("+".join(module.names))
            for name, rows in zip(module.names, module.splits):
                expected[f"base_model.model.{layer}{name}.lora_A.weight"] = (
                    self.rank,
                    module.weight.shape[1],
                )
                expected[f"base_model.model.{layer}{name}.lora_B.weight"] = (rows, self.rank)
        for name, tensor in self.tensors.items():
            if name.startswith((EMBEDDING, HEAD)) and decoder.head is None:
                raise UserError(
                    f"adapter tensor {name} adapts the embedding or the head, "
                    "which this model ties together; "
                    "merge the adapter with PEFT into an untied model first"
                )
            if name.endswith(".base_layer.weight") and name not in expected:
                raise UserError(
                    f"adapter tensor {name} replaces a weight of the model; "
                    "only low-rank adapters are read"
                )
            if name not in expected:
                raise UserError(f"adapter tensor {name} belongs to no linear layer of the model")
            if tuple(tensor.shape) != expected[name]:
                raise UserError(
                    f"adapter tensor {name} has shape {tuple(tensor.shape)}; "
                    f"expected {expected[name]}"
                )
            other = name.translate(str.maketrans("AB", "BA"))
            if ".lora_" in name and other not in self.tensors:
                raise UserError(
                    f"adapter tensor {other} is missing beside {name}: the adapter is incomplete; "
                    "save it again"
                )
            if not tensor.isfinite().all():
                raise UserError(f"adapter tensor {name} holds values that are not finite")


def check_plain(config: dict, path: Path) -> None:
    """Raise UserError unless an adapter_config.json is of LoRA as it was first described.

    Every other field that is set changes what is computed, by the base's weights, further weights
    or at certain tokens, and what PEFT will add next is not known here: so all are refused that are
    not known to be harmless.
    """
    for field, value in config.items():
        if field not in HARMLESS and value:
            raise UserError(f"{path}: {field} = {value!r} is not supported; {CURE}")
    start = config.get("init_lora_weights", True)
    if not isinstance(start, (bool, str, type(None))) or start not in STARTS:
        raise UserError(
            f"{path}: init_lora_weights = {start!r} changes the base's weights, which are not in "
            f"the adapter; {CURE}, or save the adapter converted (path_initial_model_for_weight_"
            "conversion)"
        )
    if config.get("bias", "none") != "none":
        raise UserError(f"{path}: bias = {config['bias']!r} is not supported; {CURE}")


def combined(adapters: Sequence[Adapter]) -> Adapter:
    """One adapter whose product is the sum of those of several: their ranks side by side.

    B = [s₁B₁ s₂B₂ ...] and A = [A₁; A₂; ...], at scale 1. A layer that one of them leaves alone has
    zeros in its place.
    """
    shapes = {name: t.shape for adapter in adapters for name, t in adapter.tensors.items()}
    tensors = {}
    for name, shape in shapes.items():
        low = name.replace("lora_embedding_", "lora_")
        if ".lora_" not in low:  # the base's own weight, which PEFT keeps beside an embedding's
            tensors[name] = next(a.tensors[name] for a in adapters if name in a.tensors)
            continue
        dim = 0 if ".lora_A" in low else 1
        parts = []
        for adapter in adapters:
            empty = list(shape)
            empty[dim] = adapter.rank
            part = adapter.tensors.get(name, torch.zeros(empty))
            parts.append(part if dim == 0 else adapter.scale * part)
        tensors[name] = torch.cat(parts, dim).contiguous()
    return Adapter(tensors, sum(adapter.rank for adapter in adapters), 1.0)


def hub_name(base: str | Path) -> tuple[str, str | None]:
    """(id, revision) of a snapshot in the hub's cache, else (absolute path, None)."""
    found = re.search(r"models--([^/]+)/snapshots/([0-9a-f]+)/?$", Path(base).as_posix())
    if found:
        return found[1].replace("--", "/"), found[2]
    return str(Path(base).absolute()), None
