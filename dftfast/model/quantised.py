"""A decoder whose layers' matrices are held in four bits."""

from __future__ import annotations

import torch
from torch import nn

from dftfast.model.decoder import Decoder
from dftfast.model.lora import LoRALinear, lora_layers
from dftfast.model.rotary import rope_frequencies


def hold_in_nf4(decoder: Decoder, device: str | torch.device) -> None:
    """Prepare a decoder on the meta device for a base in four bits.

    The layers' matrices stay where they are, as shapes, until `LoRALinear.quantise` gets their
    values; all else is moved, uninitialised.
    """
    for linear in lora_layers(decoder).values():
        linear.in_nf4 = True
    matrices = {linear.weight for linear in lora_layers(decoder).values()}
    for module in decoder.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in matrices:
                empty = torch.empty_like(parameter, device=device)
                setattr(module, name, nn.Parameter(empty, requires_grad=False))
    decoder.inverse_frequencies = rope_frequencies(decoder.config).to(device)


def matrices_in_nf4(decoder: Decoder) -> dict[nn.Parameter, LoRALinear]:
    """The layers by their matrix, which is on the meta device."""
    return {linear.weight: linear for linear in lora_layers(decoder).values() if linear.in_nf4}
