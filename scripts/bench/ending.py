"""The end of a benchmark that is told to end: in order, with all that it made removed.

SIGTERM, SIGINT and SIGHUP become an exit, so that what clears up after a block does. While an
engine's command or the start of a daemon is under way the exit waits for its end: a command that
is killed halfway leaves things that nobody knows of.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.netns import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
END_S = 60


class _State:
    """Of the main thread, which is where signals come."""

    held = 0
    told = 0
    """The signal that came first."""


def orderly() -> None:
    """From now on the first of the signals is an exit, and further ones are nothing."""
    for number in SIGNALS:
        signal.signal(number, _tell)


def _tell(number: int, _frame: FrameType | None) -> None:
    # Never SIG_IGN instead: the commands that clear up would inherit it.
    if _State.told:
        return
    _State.told = number
    if not _State.held:
        _leave()


def _leave() -> None:
    sys.stderr.write(f"bench: {signal.Signals(_State.told).name}: clearing up\n")
    sys.exit(128 + _State.told)


@contextmanager
def held() -> Iterator[None]:
    """Let a signal that comes meanwhile be an exit only after the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came_before = _State.told
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
    if _State.told and not came_before and not _State.held:
        _leave()


@contextmanager
def daemon(
    argv: Sequence[str],
    log: Path,
    *,
    where: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a network namespace that is ended with the block.

    It has a session of its own: who ends the benchmark by a signal to all of its processes, as a
    terminal and timeout(1) do, would leave nobody who can remove containers.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as output, namespace.entered(where), held():
            process = subprocess.Popen(
                argv, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        yield process
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
