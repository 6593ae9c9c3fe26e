"""The compiled CPU kernels, loaded when the first operator is called on a CPU tensor."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

MISSING = (
    "dftfast's compiled CPU kernels are missing ({error}): install a wheel, or build from "
    "source (pip install .) with a C++17 compiler and OpenMP; a checkout that Python runs in "
    "hides an installed dftfast, so there it is pip install -e ."
)


class _OnFirstUse:
    """Stands for `dftfast._C` and imports it at the first use.

    Raises:
        ImportError: the module is not there, or cannot be loaded.
    """

    _module: ModuleType | None = None

    def __getattr__(self, name: str) -> object:
        if self._module is None:
            try:
                self._module = importlib.import_module("dftfast._C")
            except ImportError as error:
                raise ImportError(MISSING.format(error=error)) from error
        return getattr(self._module, name)


# Any: callers unpack generators of addresses, which a checker cannot count. `_C.pyi` has the types.
cpu_kernels: Any = _OnFirstUse()
