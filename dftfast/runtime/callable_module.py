"""A module that can be called, so that `dftfast.train` is a module and a function at once."""

from __future__ import annotations

import sys
from types import ModuleType


class CallableModule(ModuleType):
    """Calling it calls the function in it that has its own name.

    Importing a submodule sets it as an attribute of its package, over a function of that name.
    """

    def __call__(self, *arguments: object, **options: object) -> object:
        return vars(self)[self.__name__.rpartition(".")[2]](*arguments, **options)


def make_callable(name: str) -> None:
    """Let the module of this name be called."""
    sys.modules[name].__class__ = CallableModule
