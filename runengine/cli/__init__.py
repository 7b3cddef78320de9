"""The command line: parse, call a manager, render.

Importing this package imports click without what click itself imports and never asks for here. A
cold command is little but imports: this is 6 ms of it.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


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


class _Platform(_Deferred):
    """All that uuid, which click imports, asks of it."""

    @staticmethod
    def system() -> str:
        return "Linux"


class _Gettext(_Deferred):
    """What click's texts go through; there is no catalogue of this program's."""

    @staticmethod
    def gettext(text: str) -> str:
        return text

    @staticmethod
    def ngettext(one: str, many: str, number: int) -> str:
        return one if number == 1 else many


@contextmanager
def _instead(*modules: ModuleType) -> Iterator[None]:
    """Who imports these gets what is given. What is loaded stays."""
    placed = [module for module in modules if module.__name__ not in sys.modules]
    sys.modules.update({module.__name__: module for module in placed})
    try:
        yield
    finally:
        for module in placed:
            del sys.modules[module.__name__]


# click imports it at its head and needs it only for help pages.
if "inspect" not in sys.modules:
    sys.modules["inspect"] = _Deferred("inspect")

with _instead(_Platform("platform"), _Gettext("gettext")):
    import click  # noqa: F401

# A short life: a collection costs more than it frees. A long one (logs, pull) still has them.
gc.set_threshold(200_000)
