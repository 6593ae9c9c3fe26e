"""The model in training: a base on disk, fp32 adapters, and the weights that follow from them.

Weights are never merged in place again and again, because each rounding to bf16 would add up. They
are recomputed as `W₀ + Σ sᵢ Bᵢ Aᵢ` in fp32 and rounded once (a sequence of LoRAs as in ReLoRA,
Lialin et al. 2023, https://arxiv.org/abs/2307.05695).
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor, nn

from dftfast.model.adapter import EMBEDDING, HEAD, Adapter
from dftfast.model.decoder import Decoder
from dftfast.model.lora import LoRALinear, adapter_tensors, add_adapter, lora_layers, remove_adapter
from dftfast.model.shard import put
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weight_files import open_weights
from dftfast.model.weights import fingerprint, load_decoder, save_decoder


class Policy:
    """`decoder` always holds the effective weights; during a phase it holds a live adapter as well.

    Attributes:
        folder: the base, a Hugging Face-format folder that is only read.
        adapters: the finished phases, oldest first.
        temperature: the final norm's weight is divided by it, so that sampling at temperature 1
            equals sampling the bare model at this temperature.

    Args:
        sharded: let the processes of the default group hold a part of the layers each.
        quantization: "nf4" holds the layers' base in four bits. The finished phases stay beside it
            (`add_finished`); what is saved is the decoded base and their products.
    """

    def __init__(
        self,
        folder: str | Path,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cpu",
        sharded: bool = False,
        quantization: str = "none",
    ):
        self.folder, self.quantization = Path(folder), quantization
        self.decoder = load_decoder(folder, dtype, device, sharded, quantization)
        self.adapters: list[Adapter] = []
        self.temperature = 1.0

    def fingerprint(self) -> str:
        """A hash that is the same for the same policy.

        It is made of the base's files, the type of the weights, the finished adapters and the
        temperature. A live adapter is not in it.
        """
        digest = hashlib.sha256(
            f"{fingerprint(self.folder)} {self.decoder.embed.dtype} {self.temperature:g}".encode()
        )
        if self.quantization != "none":
            digest.update(self.quantization.encode())
        for adapter in self.adapters:
            digest.update(f"{adapter.scale:g}".encode())
            for name, tensor in sorted(adapter.tensors.items()):
                digest.update(name.encode())
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def begin_phase(self, rank: int, alpha: float, seed: int) -> list[nn.Parameter]:
        """Put a fresh adapter on the decoder; returns the parameters to train."""
        return add_adapter(self.decoder, rank, alpha, seed)

    def end_phase(self) -> Adapter:
        """Take the live adapter off, append it to the list and recompute the weights."""
        module = self.decoder.layers[0].qkv
        rank = module.adapter()[1].shape[1]
        adapter = Adapter(adapter_tensors(self.decoder), rank, module.scale)
        remove_adapter(self.decoder)
        self.add(adapter)
        return adapter

    def add(self, adapter: Adapter) -> None:
        """Append a finished adapter to the list and recompute the weights."""
        self.adapters.append(adapter)
        self.merge_weights()

    @torch.no_grad()
    def merge_weights(self) -> None:
        """Recompute every adapted weight, and the final norm, from the base on disk."""
        with ExitStack() as stack:
            files = open_weights(self.folder, stack)
            if self.quantization == "nf4":
                add_finished(self.decoder, self.adapters)
            for key, module in lora_layers(self.decoder).items():
                if module.in_nf4:
                    continue
                layer = key.removesuffix("+".join(module.names))
                base = [
                    files[f"{layer}{name}.weight"].get_tensor(f"{layer}{name}.weight")
                    for name in module.names
                ]
                total = torch.cat(base).float()
                for adapter in self.adapters:
                    total += product(module, layer, adapter)
                put(module.weight, total)
            for name, weight, products in (
                (
                    "model.embed_tokens.weight",
                    self.decoder.embed,
                    map(embedding_product, self.adapters),
                ),
                ("lm_head.weight", self.decoder.head, map(head_product, self.adapters)),
            ):
                if present := [product for product in products if product is not None]:
                    assert weight is not None  # `Adapter.check` refuses those of tied weights
                    weight.copy_(sum(present, files[name].get_tensor(name).float()))
            norm = files["model.norm.weight"].get_tensor("model.norm.weight").float()
            self.decoder.norm.copy_(norm / self.temperature)
        self.decoder.version += 1

    def save(
        self, folder: str | Path, tokenizer: Tokenizer | None = None, min_p: float = 0.0
    ) -> None:
        """Write the effective weights in Hugging Face format, as `save_decoder` does.

        Sharded ones are computed again, whole, on the CPU.

        Args:
            tokenizer: whose prompts the policy was trained on; None is the base's own.
            min_p: of the sampler, whose other settings are off and whose temperature is 1.
        """
        whole = self
        if self.decoder.sharded:
            whole = Policy(self.folder, self.decoder.embed.dtype)
            whole.adapters, whole.temperature = self.adapters, self.temperature
            whole.merge_weights()
        save_decoder(whole.decoder, folder, self.folder, tokenizer, min_p)


def add_finished(decoder: Decoder, adapters: list[Adapter]) -> None:
    """Let every layer add these adapters' products to its base.

    They are not rounded to four bits: a step of the base's codes is larger than nearly all of what
    an adapter changes, so they would be lost.
    """
    for key, linear in lora_layers(decoder).items():
        layer = key.removesuffix("+".join(linear.names))
        factors = []
        for name in linear.names:
            prefix = f"base_model.model.{layer}{name}"
            pairs = [
                (adapter.scale * adapter.tensors[b], adapter.tensors[a])
                for adapter in adapters
                for a, b in [(f"{prefix}.lora_A.weight", f"{prefix}.lora_B.weight")]
                if a in adapter.tensors
            ]
            low = torch.cat([b for b, _ in pairs], 1) if pairs else torch.zeros(0, 0)
            factors += [low, torch.cat([a for _, a in pairs]) if pairs else torch.zeros(0, 0)]
        linear.finish(factors)


def product(module: LoRALinear, layer: str, adapter: Adapter) -> Tensor:
    """`scale · B A` of a packed layer, fp32 [out, in]; a projection without an adapter gives 0."""
    rows = []
    for name, size in zip(module.names, module.splits):
        a = adapter.tensors.get(f"base_model.model.{layer}{name}.lora_A.weight")
        b = adapter.tensors.get(f"base_model.model.{layer}{name}.lora_B.weight")
        rows.append(
            torch.zeros(size, module.weight.shape[1])
            if a is None or b is None
            else adapter.scale * (b @ a)
        )
    return torch.cat(rows)


def embedding_product(adapter: Adapter) -> Tensor | None:
    """What an imported adapter adds to the embedding, fp32 [vocab, hidden]."""
    a, b = (adapter.tensors.get(f"{EMBEDDING}.lora_embedding_{which}") for which in "AB")
    return None if a is None or b is None else adapter.scale * (b @ a).T


def head_product(adapter: Adapter) -> Tensor | None:
    """What an imported adapter adds to the head, fp32 [vocab, hidden]."""
    a, b = (adapter.tensors.get(f"{HEAD}.lora_{which}.weight") for which in "AB")
    return None if a is None or b is None else adapter.scale * (b @ a)
