"""Reads a container's records back from systemd's journal, as the lines of a log in CRI format.

``journalctl`` reads, as there is no library for it in the standard one; it also follows.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Unavailable, Unsupported
from runengine.linux.clock import format_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STREAMS = {"6": b"stdout", "3": b"stderr"}
_PRIORITIES = {"stdout": "6", "stderr": "3"}
_FIELDS = "MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE"
_READ_BYTES = 1 << 18
POLL_S = 0.25
QUIET_S = 1.0
"""How long nothing may come after the container's end: the journal takes its time."""


class Wanted(NamedTuple):
    """Whose records."""

    container_id: str
    streams: Sequence[str]
    last: int | None
    """How many of the last ones; None: all."""


def read(wanted: Wanted, feed: Callable[[bytes], None], ends: Callable[[], bool] | None) -> None:
    """Hand blocks of lines to ``feed``; with ``ends`` go on until it is so and all is read.

    Raises Unsupported without journalctl, Unavailable if it fails, and what the callables raise.
    """
    command = _command(wanted, follow=ends is not None)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise Unsupported(
            f"cannot read the log from the journal: journalctl: {error.strerror}",
            resolution="install systemd, or run the container with another log driver",
        ) from None
    with process:
        try:
            finished = _read(process, feed, ends)
            words = _last_words(process) if finished else ""
        finally:
            process.kill()  # it may be a follower, or its reader has gone
    if words:
        raise Unavailable(f"cannot read the log from the journal: {words}")


def _read(
    process: subprocess.Popen[bytes],
    feed: Callable[[bytes], None],
    ends: Callable[[], bool] | None,
) -> bool:
    """Read to the end of the log; whether that was the end of the program."""
    if process.stdout is None:
        raise AssertionError("it has a pipe")
    fd = process.stdout.fileno()
    rest, quiet_s = b"", 0.0
    while True:
        # First ask, then read: whatever was written before the end is then read.
        over = ends is not None and ends()
        if ends is not None and not select.select([fd], [], [], POLL_S)[0]:
            quiet_s = quiet_s + POLL_S if over else 0.0
            if quiet_s >= QUIET_S:
                return False
            continue
        data = os.read(fd, _READ_BYTES)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            feed(b"".join(map(_line, whole.split(b"\n"))))
        if not data:
            return True


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """Why it failed; empty if it has not."""
    text = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    return (text or f"journalctl ended with {process.returncode}") if process.wait() else ""


def _line(record: bytes) -> bytes:
    """``<time> <stream> F|P <text>`` and a newline; nothing for what is no record of ours."""
    try:
        found: dict[str, Any] = json.loads(record)
        stamp = format_ns(int(found["__REALTIME_TIMESTAMP"]) * 1000).encode()
        stream = _STREAMS[found["PRIORITY"]]
        text = _bytes(found["MESSAGE"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return b""
    tag = b"P" if found.get("CONTAINER_PARTIAL_MESSAGE") == "true" else b"F"
    return b"%b %b %b %b\n" % (stamp, stream, tag, text)


def _bytes(value: str | list[int]) -> bytes:
    """A field: text, or the bytes of what is none."""
    return bytes(value) if isinstance(value, list) else value.encode()


def _command(wanted: Wanted, *, follow: bool) -> list[str]:
    command = ["journalctl", "--quiet", "--no-pager", "--all", "--output=json"]
    command.append(f"--output-fields={_FIELDS}")
    if wanted.last is not None:
        command.append(f"--lines={wanted.last}")
    elif follow:
        command.append("--no-tail")
    if follow:
        command.append("--follow")
    command.append(f"CONTAINER_ID_FULL={wanted.container_id}")
    return [*command, *(f"PRIORITY={_PRIORITIES[stream]}" for stream in wanted.streams)]
