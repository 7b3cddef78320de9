"""The resolver's log, ``<state>/dns/log``: what is wrong, once a while each, in bounded space."""

from __future__ import annotations

import time
from contextlib import suppress

from runengine.linux import clock
from runengine.linux.appending import append_line
from runengine.linux.fsatomic import read_optional

NAME = "log"
LIMIT_BYTES = 64 << 10
"""Then the file is turned over; one older is kept."""
REPEAT_S = 60.0
"""The same line is not written again before."""
MAX_LINE = 500
MAX_REMEMBERED = 200


class Log:
    """Writes lines; a question that comes a thousand times a second must not fill the disk."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{NAME}"
        self._written: dict[str, float] = {}

    def write(self, text: str) -> None:
        """Note what is wrong; a full disk or a removed directory is no reason to stop."""
        line = " ".join(text.split())[:MAX_LINE]
        now = time.monotonic()
        if now - self._written.get(line, -REPEAT_S) < REPEAT_S:
            return
        if len(self._written) >= MAX_REMEMBERED:
            self._written.clear()
        self._written[line] = now
        with suppress(OSError):
            entry = f"{clock.now()} {line}\n".encode(errors="replace")
            append_line(self._path, entry, LIMIT_BYTES)


def last_line(directory: str) -> str:
    """What was written last, without its time; empty if nothing was."""
    lines = (read_optional(f"{directory}/{NAME}") or b"").decode(errors="replace").splitlines()
    return lines[-1].partition(" ")[2] if lines else ""
