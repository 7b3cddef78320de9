"""Asking before something is taken away."""

from __future__ import annotations

import sys

from runengine.cli import context

QUESTION = "Are you sure you want to continue? [y/N] "


def agreed(warning: str) -> bool:
    """Show the warning and ask. An end of the input is a no."""
    context.write(f"{warning}\n{QUESTION}")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
