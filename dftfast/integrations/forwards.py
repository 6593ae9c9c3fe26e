"""Giving a module of somebody else's model another forward, and taking it back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType

import torch
from torch import nn

from dftfast.runtime.errors import UserError

MARK = "_computed_by_dftfast"
HOOKED = "_old_forward"  # where accelerate's hooks keep the forward that they call


def replace(functions: list[tuple[nn.Module, Callable]]) -> None:
    """Let `function(module, ...)` compute in place of each module's class's forward.

    The class, its parameters and its state dict stay. Behind a hook of accelerate's the hook
    keeps working. Raises UserError, with no module changed, where something else has replaced a
    forward already.
    """
    slots = [_slot(module) for module, _ in functions]
    for slot, (module, function) in zip(slots, functions):
        setattr(module, slot, MethodType(_switch(type(module), function), module))
        setattr(module, MARK, True)


def _slot(module: nn.Module) -> str:
    """The attribute that holds the forward to replace."""
    slot = HOOKED if hasattr(module, "_hf_hook") and HOOKED in vars(module) else "forward"
    current = vars(module).get(slot)
    if current is not None and current != MethodType(type(module).forward, module):
        raise UserError(
            f"the forward of a {type(module).__name__} has been replaced by {current}; "
            "do this first, before a trainer or another library wraps the model"
        )
    return slot


def is_replaced(module: nn.Module) -> bool:
    return MARK in vars(module)


def restore(module: nn.Module) -> None:
    """The class's forward again, also where a hook or a trainer has wrapped ours since."""
    delattr(module, MARK)
    for slot in ("forward", HOOKED):
        method = vars(module).get(slot)
        if not hasattr(getattr(method, "__func__", None), MARK):
            continue
        if slot == HOOKED:
            setattr(module, slot, MethodType(type(module).forward, module))
        else:
            delattr(module, slot)


@functools.cache
def _switch(cls: type[nn.Module], function: Callable) -> Callable:
    """A forward that is `function` while the module is marked, and the class's afterwards."""

    def forward(self, *args, **kwargs):
        if getattr(self, MARK, False):
            return function(self, *args, **kwargs)
        return cls.forward(self, *args, **kwargs)

    # Trainers and `generate` read the arguments' names from it. Not `functools.wraps`: accelerate
    # follows __wrapped__ to take its own wrapper off, and would take this one off, too.
    vars(forward).update({"__signature__": inspect.signature(cls.forward), MARK: True})
    return forward


def is_bare(module: nn.Module | None) -> bool:
    """Whether reading its weight is all that calling this nn.Linear does."""
    if type(module) is not nn.Linear or "forward" in vars(module):
        return False
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return not hooks and type(module.weight) in (torch.Tensor, nn.Parameter)
