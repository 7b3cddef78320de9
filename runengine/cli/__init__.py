"""The command line: parse, call a manager, render.

Importing this package puts off the import of ``inspect`` until something uses it: click imports
it at its head and needs it only for help pages, and it costs every command 5 ms.
"""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in for a module and becomes it at the first use of an attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from importlib import import_module

        sys.modules.pop(self.__name__, None)
        real = import_module(self.__name__)
        self.__dict__.update(vars(real))
        return getattr(real, name)


if "inspect" not in sys.modules:
    sys.modules["inspect"] = _Deferred("inspect")

# A short life: a collection costs more than it frees. A long one (logs, pull) still has them.
gc.set_threshold(200_000)
