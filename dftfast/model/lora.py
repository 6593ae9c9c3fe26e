"""Low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685) on the decoder's packed linear layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dftfast.kernels import lora_linear


class LoRALinear(nn.Module):
    """``y = x Wᵀ + bias`` over one or several projections packed by rows, each with its own adapter.

    Attributes:
        names: the projections' names in a Hugging Face layer, e.g. ``("self_attn.q_proj", ...)``.
        splits: output rows of each.
        weight: [sum(splits), in]; bias: [sum(splits)] or None. Frozen unless asked otherwise.
        a: [len(splits)·rank, in] and b: [sum(splits), rank], fp32 masters, or None without an adapter.
    """

    def __init__(
        self, names: tuple[str, ...], splits: list[int], in_features: int, bias: bool, **factory
    ):
        super().__init__()
        self.names, self.splits = names, splits
        self.weight = nn.Parameter(
            torch.empty(sum(splits), in_features, **factory), requires_grad=False
        )
        self.bias = (
            nn.Parameter(torch.empty(sum(splits), **factory), requires_grad=False) if bias else None
        )
        self.a: nn.Parameter | None = None
        self.b: nn.Parameter | None = None
        self.scale = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.a is None:
            return F.linear(x, self.weight, self.bias)
        return lora_linear(x, self.weight, self.a, self.b, self.scale, self.bias, self.splits)

    def add_adapter(
        self, rank: int, scale: float, generator: torch.Generator | None = None
    ) -> None:
        """Start a fresh adapter: A uniform as in PEFT (Kaiming with a = √5, so ±1/√in), B zero."""
        rows, columns = self.weight.shape
        device = self.weight.device
        a = torch.empty(len(self.splits) * rank, columns, dtype=torch.float32)
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(a.uniform_(-bound, bound, generator=generator).to(device))
        self.b = nn.Parameter(torch.zeros(rows, rank, dtype=torch.float32, device=device))
        self.scale = scale

    def remove_adapter(self) -> None:
        self.a = self.b = None
        self.scale = 0.0


def lora_layers(decoder: nn.Module) -> dict[str, LoRALinear]:
    """The decoder's packed linear layers by the prefix that Hugging Face gives their layer."""
    found = {}
    for index, layer in enumerate(decoder.layers):
        for module in (layer.qkv, layer.o, layer.gate_up, layer.down):
            found[f"model.layers.{index}." + "+".join(module.names)] = module
    return found


def add_adapter(decoder: nn.Module, rank: int, alpha: float, seed: int) -> list[nn.Parameter]:
    """Put a fresh adapter of this rank on every linear layer, scaled by alpha / rank. Returns its parameters."""
    generator = torch.Generator().manual_seed(seed)
    for module in lora_layers(decoder).values():
        module.add_adapter(rank, alpha / rank, generator)
    return [p for module in lora_layers(decoder).values() for p in (module.a, module.b)]


def remove_adapter(decoder: nn.Module) -> None:
    for module in lora_layers(decoder).values():
        module.remove_adapter()


@contextmanager
def adapter_off(decoder: nn.Module) -> Iterator[None]:
    """The decoder without its live adapter, for the length of a with-block."""
    modules = list(lora_layers(decoder).values())
    live = [(module.a, module.b, module.scale) for module in modules]
    remove_adapter(decoder)
    try:
        yield
    finally:
        for module, (a, b, scale) in zip(modules, live):
            module.a, module.b, module.scale = a, b, scale


def adapter_tensors(decoder: nn.Module) -> dict[str, Tensor]:
    """The adapter under PEFT's names, one A [rank, in] and one B [out, rank] per projection (fp32 copies on CPU)."""
    tensors = {}
    for key, module in lora_layers(decoder).items():
        layer = key[: -len("+".join(module.names))]
        for name, a, b in zip(
            module.names, module.a.chunk(len(module.names)), module.b.split(module.splits)
        ):
            prefix = f"base_model.model.{layer}{name}"
            tensors[f"{prefix}.lora_A.weight"] = a.detach().float().cpu().clone()
            tensors[f"{prefix}.lora_B.weight"] = b.detach().float().cpu().clone()
    return tensors
