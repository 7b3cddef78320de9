"""Configurations and states with a few keys changed, whatever their typed shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def changed(document: Any, changes: Mapping[str, Any] | None) -> Any:
    """A copy of ``document`` with ``changes`` on top."""
    return {**document, **(changes or {})}
