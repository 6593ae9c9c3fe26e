"""The frozen weights of the layers shared out over processes, for models beyond one device (FSDP2).

Zhao et al. 2023, https://arxiv.org/abs/2304.11277, in the form of
`torch.distributed.fsdp.fully_shard`.
"""

from __future__ import annotations

import warnings
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from dftfast.model.decoder import Decoder
from dftfast.model.rotary import rope_frequencies


def shard(decoder: Decoder, device: str | torch.device) -> None:
    """Give each process an equal part of every layer's weights, uninitialised, on its `device`.

    `decoder` is on the meta device, so that nobody ever holds it whole. A layer's weights are
    gathered just before its forward or backward pass and given up after it; so every process has to
    take part in every pass. Whole on each device are the embedding, the final norm and the head
    (the losses read them too), and adapters, which come later.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
    for layer in decoder.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    layers = {p for layer in decoder.layers for p in layer.parameters()}
    fully_shard(
        decoder, mesh=mesh, ignored_params={p for p in decoder.parameters() if p not in layers}
    )
    decoder.to_empty(device=device)
    decoder.inverse_frequencies = rope_frequencies(decoder.config).to(device)
    decoder.sharded = True
    # The hidden states are a view, and nothing writes to them.
    warnings.filterwarnings(
        "ignore", message=r"FSDP2-wrapped module \(FSDPDecoder\) returned a view tensor"
    )


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into a weight of which this process may hold a part."""
    if hasattr(target, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        held = cast(DTensor, target)
        value = distribute_tensor(
            value.to(held.device), held.device_mesh, held.placements, src_data_rank=None
        )
    target.copy_(value)
