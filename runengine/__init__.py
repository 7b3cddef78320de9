"""runengine: a container engine for Linux that drives runc directly.

The managers are the library: ``from runengine import Engine; engine = Engine.open()``.
"""

from __future__ import annotations

# Not from typing: loading it would cost every monitor a megabyte.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from runengine.mgr.engine import Engine as Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> Any:
    """Import ``Engine`` on first use, so that the monitor and the front stay light (PEP 562)."""
    if name == "Engine":
        from runengine.mgr.engine import Engine

        return Engine
    raise AttributeError(f"module 'runengine' has no attribute {name!r}")
