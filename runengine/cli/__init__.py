"""The command line: parse, call a manager, render.

Importing this package puts off the import of ``inspect`` and ``uuid`` until something uses them:
click imports them at its head and needs them only for help pages and for a type that no command
has; together they cost every command 7 ms.
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


for _name in ("inspect", "uuid"):
    if _name not in sys.modules:
        sys.modules[_name] = _Deferred(_name)

# A short life: a collection costs more than it frees. A long one (logs, pull) still has them.
gc.set_threshold(200_000)
