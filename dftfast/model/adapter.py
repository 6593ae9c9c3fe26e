"""Adapters on disk, in the format of PEFT: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
import math
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

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EMBEDDING, HEAD = "base_model.model.model.embed_tokens", "base_model.model.lm_head"
REFUSED = (
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "layer_replication",
    "fan_in_fan_out",
)


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

    def save(self, folder: str | Path, base: str | Path) -> None:
        """Write a folder for `peft.PeftModel.from_pretrained`; it appears only when complete."""
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": str(base),
            "r": self.rank,
            "lora_alpha": self.scale * self.rank,
            "target_modules": list(TARGETS),
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
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
        for field in REFUSED:
            if config.get(field):
                raise UserError(f"{path}: {field} = {config[field]!r} is not supported")
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
                f"{weights}: not found (adapters in pickled .bin files are not read)"
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
