"""Progress of pulls and loads: bars on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from runengine.cli import context, units

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

REDRAW_S = 0.1
BAR_WIDTH = 20
SHORT_KEY = 12


class Progress:
    """What a manager reports to; says nothing. The parent of those that do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        """A layer (or another part, by digest or name) is at ``current`` bytes of ``total``."""

    def line(self, text: str) -> None:
        """Something to say once."""

    def close(self) -> None:
        """Finish: nothing may be reported afterwards."""


def progress_for(fd: int, *, quiet: bool = False) -> Progress:
    """The right one for what ``fd`` is. Use it as a context manager."""
    if quiet:
        return Progress()
    return TerminalProgress(fd) if os.isatty(fd) else PlainProgress(fd)


def short_key(key: str) -> str:
    """A digest's first twelve digits; any other name as it is."""
    return key.removeprefix("sha256:")[:SHORT_KEY] if key.startswith("sha256:") else key


def write_all(fd: int, text: str) -> None:
    """Write everything, whatever pieces the kernel takes."""
    data = memoryview(text.encode("utf-8", "replace"))
    while data:
        data = data[os.write(fd, data) :]


class PlainProgress(Progress):
    """One line for each change of a layer's status, for files and pipes. Threads may share it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._statuses: dict[str, str] = {}

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:  # noqa: ARG002
        """Say the status if it is new."""
        with self._lock:
            if self._statuses.get(key) != status:
                self._statuses[key] = status
                write_all(self._fd, f"{short_key(key)}: {context.one_line(status)}\n")

    def line(self, text: str) -> None:
        """Say it."""
        with self._lock:
            write_all(self._fd, f"{context.one_line(text)}\n")


class TerminalProgress(Progress):
    """A line for each layer, redrawn in place ten times a second at most. Threads may share it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[str, int, int | None]] = {}
        self._drawn = 0
        self._next_s = 0.0

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        """Keep where the layer is; draw if it is time or the status is new."""
        with self._lock:
            before = self._rows.get(key)
            self._rows[key] = (status, current, total)
            now_s = time.monotonic()
            if before is None or before[0] != status or now_s >= self._next_s:
                self._next_s = now_s + REDRAW_S
                self._draw()

    def line(self, text: str) -> None:
        """Say it above the bars; below them once all are full."""
        with self._lock:
            if all(_is_done(current, total) for _, current, total in self._rows.values()):
                self._settle()
            write_all(self._fd, f"{self._back()}{context.one_line(text)}\n")
            self._drawn = 0
            self._draw()

    def close(self) -> None:
        """Leave the last picture standing."""
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        """Let the picture stand as it is and begin a new one below it."""
        self._draw(everything=True)
        self._rows.clear()
        self._drawn = 0

    def _back(self) -> str:
        """To the first line of what was drawn, with everything below it cleared."""
        return f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""

    def _draw(self, *, everything: bool = False) -> None:
        columns, lines = self._size()
        shown = [(key, *row) for key, row in self._rows.items()]
        room = max(lines - 2, 1)
        hidden = 0
        if len(shown) > room and not everything:
            unfinished = [row for row in shown if not _is_done(row[2], row[3])]
            shown, hidden = unfinished[: room - 1], len(shown) - len(unfinished[: room - 1])
        rows = [picture(*row, columns) for row in shown]
        if hidden:
            rows.append(f"... and {hidden} more"[:columns])
        write_all(self._fd, self._back() + "".join(f"{row}\n" for row in rows))
        self._drawn = len(rows)

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return max(size.columns or 80, 20), max(size.lines or 24, 4)


def _is_done(current: int, total: int | None) -> bool:
    return total is None or current >= total


def picture(key: str, status: str, current: int, total: int | None, columns: int) -> str:
    """One layer's line, at most ``columns`` wide."""
    text = f"{short_key(key)}: {context.one_line(status)}"
    if total and 0 <= current < total:
        filled = BAR_WIDTH * current // total
        bar = "=" * filled + ">" + " " * (BAR_WIDTH - filled)
        text += f" [{bar}] {units.human_size(current, 3)}/{units.human_size(total, 3)}"
    elif current and total is None:
        text += f" {units.human_size(current, 3)}"
    return units.ellipsis(text, columns)
