"""The device a user names."""

from __future__ import annotations

import torch

from dftfast.kernels.compiled import cpu_kernels
from dftfast.runtime.errors import UserError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The named device; None is the GPU where there is one, else the CPU.

    Raises:
        UserError: the device is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r}: not a device; name cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}: only cpu and cuda are supported")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices here")
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices faster than float32 ones.

    On a CPU that takes AMX or AMD's AVX512-BF16.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_kernels.fast_bf16()


def pick_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The named dtype; None is bfloat16 where that is faster, else float32."""
    return getattr(torch, name or ("bfloat16" if multiplies_bfloat16(device) else "float32"))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in ordinary memory.

    In ordinary memory torch raises a plain RuntimeError.
    """
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(
        error
    )
