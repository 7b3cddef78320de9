"""Reading events: what was, what is to come, and until when.

A follower reads the journal's files and sleeps in inotify(7) until one of them changes. Whoever
writes knows nothing of it, so a reader that is slow, or stopped, costs the writers nothing.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter
from runengine.mgr.event_filters import compile_filters
from runengine.mgr.log_files import LogReader
from runengine.mgr.log_times import SECOND_NS, parse_time
from runengine.store.journal import parse_block

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from typing import Self

    Moment = int | float | str | None

LONG_SLEEP_S = 86400.0
CLOCK_CHECK_S = 60.0
"""With an end to wait for: how late a clock that was set forward may be noticed."""
POLL_S = 0.25
PRIVATE = ("tookNs",)


class Tail:
    """The journal from one moment on, for somebody who looks again now and then."""

    def __init__(self, path: str, *, from_start: bool = False) -> None:
        self._reader = LogReader(path)
        if not from_start:
            self._reader.seek_end()

    def read(self) -> Iterator[dict[str, Any] | None]:
        """Whole messages, private fields too, since the last call; None where some are lost."""
        for block in self._reader.rest():
            if block is None:
                yield None
            else:
                yield from parse_block(block)

    def written(self) -> Iterator[dict[str, Any]]:
        """The messages that were there at the beginning."""
        for block in self._reader.written():
            yield from parse_block(block)

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()


class Window:
    """Since when and until when, by the messages' own times."""

    def __init__(self, since: Moment, until: Moment) -> None:
        now_ns = time.time_ns()
        self.since_ns = _moment(since, now_ns)
        self.until_ns = _moment(until, now_ns)
        if None not in (self.since_ns, self.until_ns) and self.until_ns < self.since_ns:  # type: ignore[operator]
            raise InvalidParameter(
                f"'since' ({since}) cannot be after 'until' ({until})",
                resolution="give an end that is later than the beginning",
            )
        # What happens from now on counts even if the clock is set back behind the beginning.
        lies_ahead = self.since_ns is not None and self.since_ns > now_ns
        self._since_of_new = self.since_ns if lies_ahead else None

    @property
    def is_open(self) -> bool:
        """Whether no limit was given: then nothing of the past is wanted."""
        return self.since_ns is None and self.until_ns is None

    def has(self, message: Mapping[str, Any], *, new: bool) -> bool:
        """Whether the message's time is in the window."""
        since_ns = self._since_of_new if new else self.since_ns
        at = message["timeNano"]
        return (since_ns is None or at >= since_ns) and (
            self.until_ns is None or at <= self.until_ns
        )

    def has_passed(self) -> bool:
        """Whether there is an end, and it is over."""
        return self.until_ns is not None and time.time_ns() > self.until_ns

    def sleep_s(self) -> float:
        """How long to wait for a change at most."""
        if self.until_ns is None:
            return LONG_SLEEP_S
        return min(max((self.until_ns - time.time_ns()) / SECOND_NS, 0) + 0.001, CLOCK_CHECK_S)


def _moment(value: Moment, now_ns: int) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return parse_time(value, now_ns / SECOND_NS)
    return value if isinstance(value, int) else int(value * SECOND_NS)


class Subscription:
    """Messages from the moment it was made, an iterator; close it, or use it in ``with``."""

    def __init__(
        self,
        path: str,
        window: Window,
        accepts: Callable[[Mapping[str, Any]], bool],
        *,
        follow: bool,
        on_gap: Callable[[], None] | None = None,
    ) -> None:
        self._window = window
        self._accepts = accepts
        self._follow = follow
        self._on_gap = on_gap
        # First the watch, then the position: what comes in between wakes us for nothing.
        self._watch = _Watch(os.path.dirname(path)) if follow else None
        self._replays = not (window.is_open and follow)
        self._tail = Tail(path, from_start=self._replays)
        self._messages = self._all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._messages.close()
        self._tail.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _all(self) -> Generator[dict[str, Any], None, None]:
        if self._replays:
            yield from self._wanted(self._tail.written(), new=False)
        while self._watch is not None:
            # First ask, then read: whatever was written before the end is then read.
            over = self._window.has_passed()
            yield from self._wanted(self._tail.read(), new=True)
            if over:
                return
            self._watch.wait(self._window.sleep_s())

    def _wanted(
        self, messages: Iterator[dict[str, Any] | None], *, new: bool
    ) -> Iterator[dict[str, Any]]:
        for message in messages:
            if message is None:
                if self._on_gap is not None:
                    self._on_gap()
            elif self._window.has(message, new=new) and self._accepts(message):
                yield {key: value for key, value in message.items() if key not in PRIVATE}


class _Watch:
    """Sleeps until something is written in a directory, which is made if it is missing."""

    def __init__(self, directory: str) -> None:
        from runengine.linux.inotify import DirectoryWatch

        self._watch: DirectoryWatch | None = None
        with suppress(OSError):
            # No inotify instance left on this host, or no directory to be made: look in turns.
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._watch = DirectoryWatch(directory)

    def wait(self, timeout_s: float) -> None:
        if self._watch is None:
            time.sleep(min(timeout_s, POLL_S))
        else:
            self._watch.wait(timeout_s)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


def subscribe(
    path: str,
    *,
    since: Moment = None,
    until: Moment = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    follow: bool = True,
    on_gap: Callable[[], None] | None = None,
) -> Subscription:
    """See ``SystemMgr.subscribe_to_events``."""
    window = Window(since, until)
    accepts = compile_filters(filters or {})
    return Subscription(path, window, accepts, follow=follow, on_gap=on_gap)
