"""What several ops ask of their arguments."""

from __future__ import annotations

import torch
from torch import Tensor

# As the C++ kernels number them (csrc/row_ops.h).
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def check_dtype(op: str, *tensors: Tensor) -> None:
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) != 1 or not dtypes <= DTYPES.keys():
        names = ", ".join(sorted(str(dtype) for dtype in dtypes))
        raise TypeError(
            f"{op}: one of float32, bfloat16 and float16 expected for all tensors, got {names}; "
            "convert them"
        )


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
