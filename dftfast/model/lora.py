"""Low-rank adapters on the decoder's packed linear layers.

Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dftfast.kernels import lora_linear
from dftfast.model.nf4 import Nf4


class LoRALinear(nn.Module):
    """`y = x Wᵀ + bias` over one or several projections packed by rows, each with its own adapter.

    Attributes:
        names: the projections' names in a Hugging Face layer, e.g. `("self_attn.q_proj", ...)`.
        splits: output rows of each.
        weight: [sum(splits), in]; bias: [sum(splits)] or None. Frozen unless asked otherwise.
        a: [len(splits)·rank, in] and b: [sum(splits), rank], fp32 masters, or None without an
            adapter.
        in_nf4: whether the values of `weight`, then on the meta device, are held in four bits.
    """

    in_nf4 = False
    nf4: Nf4 | None = None

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
        # Beside four bits: B and A of each projection's finished adapters, in the weight's dtype.
        self.finished = nn.ParameterList()

    def forward(self, x: Tensor) -> Tensor:
        if self.a is None or self.b is None:
            return F.linear(x, self.base(), self.bias)
        if self.in_nf4:
            return _OverNf4.apply(x, self.a, self.b, self)
        return lora_linear(x, self.weight, self.a, self.b, self.scale, self.bias, self.splits)

    def add_adapter(
        self, rank: int, scale: float, generator: torch.Generator | None = None
    ) -> None:
        """Start a fresh adapter: A uniform as in PEFT (Kaiming with a = √5, so ±1/√in), B zero."""
        rows, columns = self.weight.shape
        device = self.device
        a = torch.empty(len(self.splits) * rank, columns, dtype=torch.float32)
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(a.uniform_(-bound, bound, generator=generator).to(device))
        self.b = nn.Parameter(torch.zeros(rows, rank, dtype=torch.float32, device=device))
        self.scale = scale

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    @property
    def device(self) -> torch.device:
        return self.weight.device if self.nf4 is None else self.nf4.codes.device

    def quantise(self, weight: Tensor) -> None:
        """Take the values of the weight, to be held in four bits on the device that they are on."""
        self.nf4 = Nf4(weight.to(self.weight.dtype))

    def finish(self, factors: list[Tensor]) -> None:
        """Add the products of B [out of a projection, r] and A [r, in], in turn, to the base."""
        self.finished = nn.ParameterList(
            nn.Parameter(factor.to(self.device, self.weight.dtype), requires_grad=False)
            for factor in factors
        )

    @torch.no_grad()
    def base(self) -> Tensor:
        """[out, in]: the weight, or what four bits and finished adapters make of it."""
        if self.nf4 is None:
            return self.weight
        weight = self.nf4.decoded()
        for rows, b, a in zip(weight.split(self.splits), self.finished[::2], self.finished[1::2]):
            if b.numel():
                rows.addmm_(b, a)
        return weight

    def merged(self) -> Tensor:
        """W + scale · B A, block by block, in the dtype of W; W itself without an adapter."""
        if self.a is None or self.b is None:
            return self.base()
        blocks = zip(self.b.split(self.splits), self.a.split(self.b.shape[1]))
        product = torch.cat([b @ a for b, a in blocks])
        return (self.base().float() + self.scale * product).to(self.weight.dtype)

    def adapter(self) -> tuple[nn.Parameter, nn.Parameter]:
        """A and B of the live adapter."""
        assert self.a is not None and self.b is not None, "the layer holds no adapter"
        return self.a, self.b

    def remove_adapter(self) -> None:
        self.a = self.b = None
        self.scale = 0.0


class _OverNf4(torch.autograd.Function):
    """`lora_linear` over a base in four bits, which is decoded again in the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, a: Tensor, b: Tensor, linear: LoRALinear) -> Tensor:
        y, u = torch.ops.dftfast.lora_linear(
            x, linear.base(), a, b, linear.scale, linear.bias, linear.splits, 0.0, 0
        )
        ctx.save_for_backward(x, u, a, b)
        ctx.linear, ctx.scale = linear, linear.scale
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor):
        (x, u, a, b), linear = ctx.saved_tensors, ctx.linear
        needs = list(ctx.needs_input_grad[:3])
        gradients = iter(
            torch.ops.dftfast.lora_linear_backward(
                dy, x, u, linear.base(), a, b, ctx.scale, linear.splits, 0.0, 0, needs
            )
        )
        return *(next(gradients) if need else None for need in needs), None


class PackedLayer(Protocol):
    """A decoder's layer: its four packed products."""

    @property
    def qkv(self) -> LoRALinear: ...
    @property
    def o(self) -> LoRALinear: ...
    @property
    def gate_up(self) -> LoRALinear: ...
    @property
    def down(self) -> LoRALinear: ...


class PackedLayers(Protocol):
    """What adapters need of a decoder."""

    @property
    def layers(self) -> Sequence[PackedLayer]: ...


def lora_layers(decoder: PackedLayers) -> dict[str, LoRALinear]:
    """The decoder's packed linear layers by the prefix that Hugging Face gives their layer."""
    layers = {}
    for index, layer in enumerate(decoder.layers):
        for module in (layer.qkv, layer.o, layer.gate_up, layer.down):
            layers[f"model.layers.{index}." + "+".join(module.names)] = module
    return layers


def add_adapter(decoder: PackedLayers, rank: int, alpha: float, seed: int) -> list[nn.Parameter]:
    """Put a fresh adapter of this rank on every linear layer, scaled by alpha / rank.

    Returns its parameters.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in lora_layers(decoder).values():
        module.add_adapter(rank, alpha / rank, generator)
    return [p for module in lora_layers(decoder).values() for p in module.adapter()]


def remove_adapter(decoder: PackedLayers) -> None:
    for module in lora_layers(decoder).values():
        module.remove_adapter()


@contextmanager
def adapter_off(decoder: PackedLayers) -> Iterator[None]:
    """The decoder without its live adapter, for the length of a with-block."""
    modules = list(lora_layers(decoder).values())
    live = [(module.a, module.b, module.scale) for module in modules]
    remove_adapter(decoder)
    try:
        yield
    finally:
        for module, (a, b, scale) in zip(modules, live):
            module.a, module.b, module.scale = a, b, scale


def adapter_tensors(decoder: PackedLayers) -> dict[str, Tensor]:
    """The adapter under PEFT's names, fp32 copies on the CPU.

    There is one A [rank, in] and one B [out, rank] per projection.
    """
    tensors = {}
    for key, module in lora_layers(decoder).items():
        layer = key[: -len("+".join(module.names))]
        all_a, all_b = module.adapter()
        for name, a, b in zip(
            module.names, all_a.chunk(len(module.names)), all_b.split(module.splits)
        ):
            prefix = f"base_model.model.{layer}{name}"
            tensors[f"{prefix}.lora_A.weight"] = a.detach().float().cpu().clone()
            tensors[f"{prefix}.lora_B.weight"] = b.detach().float().cpu().clone()
    return tensors
