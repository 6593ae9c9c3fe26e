"""Integers in few bytes: their bytes sorted by place, then compressed."""

from __future__ import annotations

import zlib

import numpy as np

from dftfast.runtime.errors import UserError

LARGEST = 1 << 31  # bytes that are unpacked


def pack(values: np.ndarray) -> np.ndarray:
    """uint8, of integers that are not negative."""
    planes = values.astype("<i8").view(np.uint8).reshape(-1, 8).T
    return np.frombuffer(zlib.compress(planes.tobytes(), 6), np.uint8)


def unpack(packed: np.ndarray, count: int) -> np.ndarray:
    """int64 [count].

    Raises:
        UserError: it is not what `pack` made of so many integers.
    """
    size = count * 8
    if not 0 <= size <= LARGEST:
        raise UserError(f"{count} integers in one table: too many")
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(packed.tobytes(), size + 1)
    except zlib.error as error:
        raise UserError(f"a packed table is damaged: {error}") from None
    if len(data) != size or not reader.eof:
        raise UserError("a packed table is damaged: it has another length")
    return (
        np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(8, count).T).view("<i8").ravel()
    )
