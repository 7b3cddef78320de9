"""Where the progress of a pull, a load or an import goes."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where progress goes; ``key`` is a short layer digest."""

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        """One layer's status, by Docker's words, with bytes so far and in all."""

    def line(self, text: str) -> None:
        """A line about the whole."""


class NoProgress:
    """Keeps quiet."""

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""
