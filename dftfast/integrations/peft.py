"""`lora_linear` inside any PEFT LoRA model, with nothing else about the model changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dftfast.integrations.forwards import is_bare, is_replaced, replace, restore
from dftfast.kernels import lora_linear
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from peft.tuners.lora.layer import Linear

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def patch(model: nn.Module) -> int:
    """Make the LoRA layers of a PEFT model compute by `lora_linear`; `unpatch` undoes it.

    A layer falls back to PEFT's own forward whenever it is not plain LoRA on a frozen
    `nn.Linear`: no or several active adapters, merged or disabled ones, DoRA and other variants,
    a trained, quantised, sharded or hooked base, mixed batches. In half precision the low-rank part
    is computed in the dtype of x, where PEFT widens x to that of the adapter; the results differ by
    that rounding. Under autocast both compute in its dtype. A hook of accelerate's stays.
    Dropout draws other entries than PEFT's with the same probability.

    Returns the number of layers patched; patching twice changes nothing. Raises UserError for a
    model without any, and for a layer whose forward something else has replaced.
    """
    layers = _layers(model)
    if not layers:
        raise UserError(
            "patch: the model has no PEFT LoRA layer on nn.Linear; call peft.get_peft_model first"
        )
    replace([(layer, _forward) for layer in layers if not is_replaced(layer)])
    return len(layers)


def unpatch(model: nn.Module) -> int:
    """Give the layers PEFT's forward back. Returns the number of layers that had been patched."""
    patched = [layer for layer in _layers(model) if is_replaced(layer)]
    for layer in patched:
        restore(layer)
    return len(patched)


def _layers(model: nn.Module) -> list[Linear]:
    from peft.tuners.lora.layer import Linear

    return [m for m in model.modules() if type(m) is Linear and type(m.base_layer) is nn.Linear]


def _forward(self: Linear, x: Tensor, *args, **kwargs) -> Tensor:
    active = [name for name in self.active_adapters if name in self.lora_A]
    if args or kwargs or len(active) != 1 or not _plain(self, active[0], x):
        return type(self).forward(self, x, *args, **kwargs)
    name = active[0]
    dropout = getattr(self.lora_dropout[name], "p", 0.0) if self.training else 0.0
    seed = int(torch.randint(2**62, ())) if dropout else 0
    a, b = (cast(nn.Linear, part[name]).weight for part in (self.lora_A, self.lora_B))
    base = cast(nn.Linear, self.base_layer)
    return lora_linear(
        x, base.weight, a, b, self.scaling[name], base.bias, dropout=dropout, seed=seed
    )


def _plain(layer: Linear, name: str, x: Tensor) -> bool:
    base = cast(nn.Linear, layer.base_layer)
    frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    usable = x.dtype in DTYPES and base.weight.dtype in DTYPES
    alike = x.dtype == base.weight.dtype or torch.is_autocast_enabled(x.device.type)
    parts = (base, layer.lora_A[name], layer.lora_B[name])
    bare = all(map(is_bare, parts)) and parts[2].bias is None and name not in layer.lora_variant
    return frozen and usable and alike and bare and not layer.disable_adapters and not layer.merged
