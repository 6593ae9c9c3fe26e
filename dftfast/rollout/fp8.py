"""Rollouts in eight bits: the layers' products in e4m3, for cards of capability 8.9 and up.

A copy of the weights, half the size of those in bfloat16, is made anew for each version of the
policy, adapter merged in. Each row of a weight and each token's input has a scale of its own, its
largest magnitude over e4m3's (Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433), so a
token's products do not depend on its company. Embedding, norms, attention, its cache and the head
stay in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dftfast.model.decoder import Decoder
from dftfast.model.lora import LoRALinear, lora_layers
from dftfast.rollout.graphs import GraphedDecoder
from dftfast.runtime.errors import UserError

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max
MULTIPLE = 16  # of both sizes of a weight: what the products take


class Fp8Linear(nn.Module):
    """A `LoRALinear` for inference: `y = x Wᵀ + bias`, W and x in e4m3 with a scale a row."""

    def __init__(self, linear: LoRALinear):
        super().__init__()
        rows, columns = sum(linear.splits), linear.in_features
        device = linear.device

        def frozen(*shape: int, dtype: torch.dtype) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=dtype, device=device), requires_grad=False)

        self.weight = frozen(rows, columns, dtype=E4M3)
        self.row_scale = frozen(1, rows, dtype=torch.float32)
        self.bias = linear.bias

    def take(self, weight: Tensor) -> None:
        """Hold `weight` [out, in] from now on, in the same memory."""
        codes, scale = to_e4m3(weight)
        self.weight.copy_(codes)
        self.row_scale.copy_(scale.t())

    def forward(self, x: Tensor) -> Tensor:
        codes, scale = to_e4m3(x)
        y = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            codes, self.weight.t(), scale_a=scale, scale_b=self.row_scale, out_dtype=x.dtype
        )
        return y if self.bias is None else y + self.bias


def to_e4m3(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[N, d] -> (e4m3 [N, d], float32 [N, 1]), whose product is the rows again, rounded."""
    rows = rows.float()
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (rows / scale).clamp(-LARGEST, LARGEST).to(E4M3), scale


def in_fp8(decoder: Decoder) -> Decoder:
    """A decoder with eight-bit layers beside `decoder`, of which it shares all else.

    It holds no weights of the layers until `follow`.
    """
    copy = Decoder(decoder.config, decoder.embed.dtype, "meta")
    copy.embed, copy.norm, copy.head = decoder.embed, decoder.norm, decoder.head
    copy.inverse_frequencies = decoder.inverse_frequencies
    for mine, layer in zip(copy.layers, decoder.layers):
        for name in ("input_norm", "post_norm", "q_norm", "k_norm"):
            setattr(mine, name, getattr(layer, name))
        for name in ("qkv", "o", "gate_up", "down"):
            setattr(mine, name, Fp8Linear(getattr(layer, name)))
    copy.version = -1
    return copy


@torch.no_grad()
def follow(copy: Decoder, decoder: Decoder) -> None:
    """Take `decoder`'s weights, its live adapter's product added, unless it has them already."""
    if copy.version == decoder.version:
        return
    modules = (m for m in copy.modules() if isinstance(m, Fp8Linear))
    for module, linear in zip(modules, lora_layers(decoder).values()):
        module.take(linear.merged())
    copy.version = decoder.version


class Fp8Decoder(GraphedDecoder):
    """Back end for GPUs that samples from an eight-bit copy of the policy."""

    def __init__(self, decoder: Decoder, block_size: int, max_sequences: int):
        super().__init__(in_fp8(decoder), block_size, max_sequences)
        self.policy = decoder

    def update(self) -> None:
        follow(self.decoder, self.policy)


def check_fp8(decoder: Decoder) -> None:
    """Raise the UserError of a model or a device that `rollout.precision = fp8` is not for."""
    check_card(decoder.embed.device)
    if decoder.sharded:
        raise UserError("rollout.precision: fp8 needs all weights on a device; not with run.shard")
    if decoder.embed.dtype != torch.bfloat16:
        raise UserError("rollout.precision: fp8 needs model.dtype = bfloat16")
    for prefix, linear in lora_layers(decoder).items():
        shape = (sum(linear.splits), linear.in_features)
        if any(size % MULTIPLE for size in shape):
            raise UserError(
                f"rollout.precision: fp8 takes sizes that are multiples of {MULTIPLE}, but "
                f"{prefix} has {shape[0]} x {shape[1]}; choose bf16"
            )


def check_card(device: torch.device) -> None:
    """Raise the UserError of a device that has no eight-bit products."""
    reason = None
    if device.type != "cuda":
        reason = f"the model is on {device}"
    elif torch.cuda.get_device_capability(device) < (8, 9):
        reason = "{} has compute capability {}.{}".format(
            torch.cuda.get_device_name(device), *torch.cuda.get_device_capability(device)
        )
    if reason:
        raise UserError(
            "rollout.precision: fp8 needs an NVIDIA card of compute capability 8.9 or more "
            f"(Ada, Hopper, Blackwell), but {reason}; choose bf16"
        )
