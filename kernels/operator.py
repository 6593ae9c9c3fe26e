"""One operator, reached two ways.

A call on plain tensors runs the kernel directly, inside a small `autograd.Function`: a registered
op takes three times as much of the host's time. Where something watches or rewrites the call
(torch.compile, export, fake tensors, a dispatch mode), it goes through the registered op
`torch.ops.dftfast.<name>`. Both check their arguments in the same function, and both refuse what
the kernels have no formula for: second derivatives and forward-mode derivatives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor
from torch.nn import Parameter


class Operator:
    """An op with a kernel for the CPU and one for CUDA.

    Args:
        name: of `torch.ops.dftfast.<name>`.
        cpu: the kernel; its annotations are the registered op's schema.
        cuda: the same for CUDA tensors.
        fake: shapes and dtypes of the results, for tensors without data.
        check: raises ValueError or TypeError for arguments that the kernels do not take. That all
            tensors are on one device is checked here.
        setup_context, backward: as `torch.library.register_autograd` has them; None where the op
            has no derivative.
        mutates: names of the arguments that the op writes to.
    """

    def __init__(
        self,
        name: str,
        *,
        cpu: Callable,
        cuda: Callable,
        fake: Callable,
        check: Callable,
        setup_context: Callable | None = None,
        backward: Callable | None = None,
        mutates: Iterable[str] = (),
    ):
        self.name, self.check = name, check
        self.kernels = {"cpu": cpu, "cuda": cuda}
        op = torch.library.custom_op(
            f"dftfast::{name}", self._checked(cpu), mutates_args=tuple(mutates), device_types="cpu"
        )
        op.register_kernel("cuda")(self._checked(cuda))
        op.register_fake(self._checked(fake))
        self.registered = getattr(torch.ops.dftfast, name)
        self.function = None
        if backward is not None:
            assert setup_context is not None
            once = _once(name, backward)
            op.register_autograd(once, setup_context=setup_context)
            self.function = _function(name, self._run, setup_context, once)

    def __call__(self, *args) -> Any:
        tensors = [t for t in args if isinstance(t, Tensor)]
        if not has_data(*tensors):
            return self.registered(*args)
        if self.function is not None and _wants_derivative(tensors):
            return self.function.apply(*args)
        return self._run(*args)

    def _run(self, *args):
        device = self._check(args)
        return self.kernels[device.type](*args)

    def _checked(self, kernel: Callable) -> Callable:
        @functools.wraps(kernel)
        def checked(*args):
            self._check(args)
            return kernel(*args)

        return checked

    def _check(self, args) -> torch.device:
        devices = [t.device for t in args if isinstance(t, Tensor)]
        for device in devices:
            if device != devices[0]:
                raise ValueError(
                    f"{self.name}: tensors on one device expected, got {devices[0]} and {device}; "
                    "move them"
                )
        self.check(*args)
        return devices[0]


def has_data(*tensors: Tensor) -> bool:
    """Whether the call is a plain one: nothing traces it, and the tensors are what they seem."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return False
    return all(
        (type(t) is Tensor or type(t) is Parameter) and t.device.type in ("cpu", "cuda")
        for t in tensors
    )


def _wants_derivative(tensors: list[Tensor]) -> bool:
    """Also one that `autograd.Function` will refuse: torch.func's, or a forward-mode one."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return True
    return forward_mode._current_level >= 0 or torch._C._are_functorch_transforms_active()


def _once(name: str, backward: Callable) -> Callable:
    """The backward, refused where its own derivative would be wanted."""

    @functools.wraps(backward)
    def once(ctx, *grads):
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{name} has no second derivative; call backward without create_graph"
            )
        return backward(ctx, *grads)

    return once


def _function(name: str, run: Callable, setup_context: Callable, backward: Callable) -> Any:
    def forward(ctx, *args):
        output = run(*args)
        setup_context(ctx, args, output)
        return output

    def jvp(ctx, *tangents):
        raise NotImplementedError(f"{name} has no forward-mode derivative")

    methods = {"forward": forward, "backward": backward, "jvp": jvp}
    return type(name, (torch.autograd.Function,), {k: staticmethod(v) for k, v in methods.items()})
