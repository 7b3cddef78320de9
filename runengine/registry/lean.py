"""oras and requests without the libraries that they import for what is never asked of them here.

Of the memory that the two take it is a fifth, and as much of the time. requests wants a detector
of character sets for bodies without one, and goes without where none is installed; whatever we
read as text is UTF-8. oras wants jsonschema for the manifests that its own pushes make, so its
modules get a stand-in, which loads the real one when it is first used.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class _Later(ModuleType):
    """Named like a module, which it loads when something of it is wanted."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _instead(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Who imports these gets what is given; with None they are not there. What is loaded stays."""
    found: dict[str, Any] = sys.modules
    placed = {name: module for name, module in modules.items() if name not in found}
    found.update(placed)
    try:
        yield
    finally:
        for name in placed:
            del found[name]


try:
    with warnings.catch_warnings(), _instead({"chardet": None, "charset_normalizer": None}):
        warnings.simplefilter("ignore")  # of requests, about just that
        import requests
except ImportError:  # before 2.32 it insisted on one
    import requests

with _instead({"jsonschema": _Later("jsonschema")}):
    import oras.auth.base
    import oras.auth.utils
    import oras.provider

__all__ = ["oras", "requests"]
