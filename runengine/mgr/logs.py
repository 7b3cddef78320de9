"""Reads a container's log for ``logs``: which lines, how they look, and until when."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, Unsupported
from runengine.linux.clock import format_ns
from runengine.mgr.log_files import LogReader, Waiter
from runengine.mgr.log_lines import FORMATS
from runengine.mgr.log_options import Subject, log_spec, parse_log_options
from runengine.mgr.log_times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runengine.mgr.log_lines import Format
    from runengine.monitor.protocol import LogSpec

    Emit = Callable[[str, bytes], None]

__all__ = ["Subject", "log_spec", "parse_log_options", "parse_tail", "parse_time", "read_logs"]

GAP = b"runengine: output was rotated away before it could be read\n"


def read_logs(
    spec: LogSpec,
    *,
    emit: Emit,
    is_running: Callable[[], bool],
    stdout: bool = True,
    stderr: bool = True,
    since: int | str | None = None,
    until: int | str | None = None,
    tail: int | str | None = None,
    follow: bool = False,
    timestamps: bool = False,
    details: bool = False,
) -> None:
    """Hand a log to ``emit(stream, data)``, in order; ``data`` is cut anywhere.

    ``since`` and ``until`` are nanoseconds since the epoch, or what ``parse_time`` takes; both
    ends count. ``tail`` as ``parse_tail`` takes it. ``follow`` goes on until ``is_running`` says
    no and all is read. It is asked several times a second, so it may raise to end the reading.
    Raises InvalidParameter, Unsupported for a driver that keeps nothing, and what ``emit`` raises.
    """
    streams = [name for name, on in (("stdout", stdout), ("stderr", stderr)) if on]
    if not streams:
        raise InvalidParameter("you must choose at least one stream")
    if spec["driver"] == "passthrough":
        from runengine.mgr import plain_logs

        plain_logs.refuse(since, until, timestamps, details)
        if stdout:
            over = (lambda: not is_running()) if follow else None
            plain_logs.read(spec["path"], parse_tail(tail), emit, over)
        return
    from_journal = spec["driver"] == "journald"
    if spec["driver"] not in FORMATS and not from_journal:
        raise Unsupported(
            "configured logging driver does not support reading",
            details=f"log driver {spec['driver']!r} keeps nothing",
        )
    lines = FORMATS["cri" if from_journal else spec["driver"]]
    window = _Window(_time(since), _time(until))
    count = parse_tail(tail)
    prefix = _details(spec["attrs"]) if details else b""
    output = _Output(lines, streams, window, emit, timestamps=timestamps, details=prefix)
    if from_journal:
        from runengine.mgr import journal_logs

        wanted = journal_logs.Wanted(spec["fields"]["CONTAINER_ID_FULL"], streams, count)
        ends = (lambda: not is_running() or window.has_passed()) if follow else None
        journal_logs.read(wanted, output.feed, ends)
        return
    with LogReader(spec["path"]) as reader:
        if count is not None:
            output.skip = reader.seek_tail(lines, streams, count)
        for block in reader.written():
            output.feed(block)
        if follow:
            _follow(reader, output, is_running, window)


def parse_tail(text: int | str | None) -> int | None:
    """How many lines; None, for "all", a negative number or junk, is all of them."""
    try:
        count = -1 if text is None else int(text)
    except ValueError:
        return None
    return None if count < 0 else count


def _time(value: int | str | None) -> int | None:
    """Nanoseconds; nothing and zero mean no limit, as in Docker."""
    if isinstance(value, str):
        value = parse_time(value, time.time()) if value else None
    return value or None


def _follow(
    reader: LogReader, output: _Output, is_running: Callable[[], bool], window: _Window
) -> None:
    with Waiter(os.path.dirname(reader.path)) as waiter:
        while True:
            # First ask, then read: whatever was written before the end is then read.
            running = is_running() and not window.has_passed()
            for block in reader.rest():
                if block is None:
                    output.note_gap()
                else:
                    output.feed(block)
            if not running:
                return
            waiter.wait()


def _details(attrs: dict[str, str]) -> bytes:
    """``k=v,k2=v2 ``, sorted, escaped as in a URL."""
    from urllib.parse import quote_plus

    pairs = [f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attrs.items())]
    return (",".join(pairs) + " ").encode()


class _Window:
    """From when to when."""

    def __init__(self, since_ns: int | None, until_ns: int | None) -> None:
        self.until_ns = until_ns
        self.since = b"" if since_ns is None else _stamp(since_ns)
        self.until = b"~" if until_ns is None else _stamp(until_ns)
        self.is_open = since_ns is None and until_ns is None

    def has_passed(self) -> bool:
        return self.until_ns is not None and time.time_ns() > self.until_ns


def _stamp(moment_ns: int) -> bytes:
    """Fixed width; what does not fit into four digits of a year is the first or last time."""
    limited = min(max(moment_ns, 0), 253_402_300_799 * 1_000_000_000)
    return format_ns(limited).encode()


class _Output:
    """Selects and decorates lines."""

    def __init__(
        self,
        lines: Format,
        streams: Collection[str],
        window: _Window,
        emit: Emit,
        *,
        timestamps: bool,
        details: bytes,
    ) -> None:
        self.skip = 0
        self._lines = lines
        self._streams = streams
        self._window = window
        self._emit = emit
        self._timestamps = timestamps
        self._details = details
        self._plain = window.is_open and not timestamps and not details
        # Streams in the middle of a line, and whether that line is wanted.
        self._begun: dict[str, bool] = {}

    def feed(self, block: bytes) -> None:
        """Take a block of whole records."""
        if self._plain and not self.skip and all(self._begun.values()):
            for stream, text in self._lines.runs(block):
                if stream in self._streams:
                    self._emit(stream, text)
            return
        parts: list[bytes] = []
        current = ""
        for stamp, stream, text in self._lines.pieces(block):
            if stream in self._streams:
                if stream != current:
                    self._send(current, parts)
                    parts, current = [], stream
                parts.append(self._select(stamp, stream, text))
        self._send(current, parts)

    def _select(self, stamp: bytes, stream: str, text: bytes) -> bytes:
        """A piece as it is to be shown; nothing if its line is not wanted."""
        prefix = b""
        wanted = self._begun.pop(stream, None)
        if wanted is None:
            wanted = self._starts(stamp)
            prefix = self._prefix(stamp)
        if not text.endswith(b"\n"):
            self._begun[stream] = wanted
        return prefix + text if wanted else b""

    def note_gap(self) -> None:
        """Say that lines are missing."""
        self._begun.clear()
        self._emit("stderr", GAP)

    def _starts(self, stamp: bytes) -> bool:
        if self.skip:
            self.skip -= 1
            return False
        return self._window.since <= stamp <= self._window.until

    def _prefix(self, stamp: bytes) -> bytes:
        return stamp + b" " + self._details if self._timestamps else self._details

    def _send(self, stream: str, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if data:
            self._emit(stream, data)
