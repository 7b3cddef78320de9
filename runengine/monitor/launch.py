"""Starts the monitor's process: clean environment, own session, nothing inherited.

In a worker of the launcher it is forked from the zygote, which costs a third of the memory;
elsewhere, and when the service has gone, it is a new interpreter.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from runengine.monitor.wire import CONTROL_FD, ENVIRONMENT

if TYPE_CHECKING:
    import signal as _signal
    import socket
    from collections.abc import Callable
    from typing import Any

    Forker = Callable[[int], socket.socket]
else:
    import _signal  # without the enumerations around it

BOOT = os.path.join(os.path.dirname(__file__), "boot.py")
ZYGOTE_BOOT = os.path.join(os.path.dirname(__file__), "zygote_boot.py")
_MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(512 << 10),
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_MMAP_THRESHOLD_": str(128 << 10),
}
"""In a burst of output the allocator keeps what it has (mallopt(3)); ``Loop.tidy`` then gives it
back, where by itself it would keep some and, the larger the burst was, ever more.
"""
_forkers: list[Forker] = []


def use(forker: Forker) -> None:
    """Let monitors be forked by ``forker``; on its socket comes a byte when one has begun."""
    _forkers[:] = [forker]


def fork(control_fd: int) -> socket.socket | None:
    """Have a monitor forked; None where nobody does that."""
    for forker in _forkers:
        try:
            return forker(control_fd)
        except OSError:
            _forkers.clear()
    return None


def command(boot: str, *arguments: object) -> list[str]:
    """The command line of a process that begins with ``boot`` and gets these arguments.

    ``-S`` leaves site-packages out, so the folders of ``runengine`` and ``prctl`` go along; that
    is right for plain, editable and source-tree installs.
    """
    from importlib.util import find_spec

    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    prctl = find_spec("prctl")
    folders = [package]
    if prctl and prctl.origin:
        folders.append(os.path.dirname(prctl.origin))
    return [sys.executable, "-I", "-S", "-X", "utf8", boot, *map(str, arguments), *folders]


def spawn(control_fd: int) -> int:
    """Start a monitor with ``control_fd`` as its control socket; its pid. Raises OSError."""
    # First, because a caller with closed standard streams has its socket at 0, 1 or 2.
    place = (os.POSIX_SPAWN_DUP2, control_fd, CONTROL_FD)
    return _spawn(command(BOOT, CONTROL_FD), ENVIRONMENT, [place])


def spawn_zygote(asked_fd: int, channel_fd: int, directory: str) -> int:
    """Start the process that monitors are forked from; its pid. Raises OSError.

    ``directory`` is for what it rehearses.
    """
    # Onto itself, which only makes it stay open in the new program.
    keep = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (asked_fd, channel_fd)]
    argv = command(ZYGOTE_BOOT, asked_fd, channel_fd, directory)
    return _spawn(argv, {**ENVIRONMENT, **_MALLOC}, keep)


def _spawn(argv: list[str], environment: dict[str, str], actions: list[tuple[Any, ...]]) -> int:
    actions += [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1)]
    return os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        # What a caller ignores (nohup) must not be ignored in the container.
        setsigdef=sorted(_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}),
    )
