"""A safetensors file, read a tensor at a time.

The library maps the whole file, twice for torch, which a process with a limit on its address space
(`ulimit -v`) may not. The format is a length, a JSON header and the values:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

FLOATS = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_LONGEST_HEADER = 100_000_000  # bytes, as in the library


class TensorFile:
    """The tensors of a file by their names. Used in a `with` block, for whose length it is open.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no such file, or not all of it.
    """

    def __init__(self, path: Path):
        self._file = open(path, "rb", buffering=0)
        try:
            self._start, self._tensors = self._header(os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def _header(self, size: int) -> tuple[int, dict[str, dict]]:
        length = int.from_bytes(self._file.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError("its header is longer than the file")
        try:
            tensors = json.loads(self._file.read(length))
        except RecursionError:
            raise ValueError("its header is nested too deeply") from None
        if not isinstance(tensors, dict):
            raise ValueError("its header is no object")
        tensors.pop("__metadata__", None)
        values, last = size - 8 - length, 0
        for name, tensor in tensors.items():
            last = max(last, _end(name, tensor, values))
        if last != values:
            raise ValueError(f"it holds {values} bytes of values, its header names {last}")
        return 8 + length, tensors

    def keys(self) -> Iterable[str]:
        return self._tensors.keys()

    def dtype(self, name: str) -> str:
        """As the format calls it: "BF16"."""
        return self._tensors[name]["dtype"]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name]["shape"])

    def get_tensor(self, name: str) -> Tensor:
        """The values on the CPU; the dtype must be one of FLOATS."""
        begin, end = self._tensors[name]["data_offsets"]
        values = torch.empty(end - begin, dtype=torch.uint8)
        self._file.seek(self._start + begin)
        left = memoryview(values.numpy().data)
        while left:
            read = self._file.readinto(left)
            if not read:
                raise ValueError("the file became shorter while it was read")
            left = left[read:]
        return values.view(FLOATS[self.dtype(name)]).view(self.shape(name))


def _end(name: str, tensor: object, values: int) -> int:
    """Where a tensor's values end, after a check of what the header says of it."""
    try:
        dtype, shape = tensor["dtype"], tensor["shape"]  # type: ignore[index]
        begin, end = tensor["data_offsets"]  # type: ignore[index]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"its header says nothing usable of tensor {name}") from None
    if not whole or not isinstance(dtype, str) or not begin <= end <= values:
        raise ValueError(f"its header places tensor {name} outside the file")
    if dtype in FLOATS and end - begin != math.prod(shape) * FLOATS[dtype].itemsize:
        raise ValueError(f"its header gives tensor {name} {end - begin} bytes for {shape}")
    return end
