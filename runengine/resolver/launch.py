"""Sees to it that a resolver runs, from whichever process needs one first."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.linux import locks
from runengine.resolver import control, tables
from runengine.resolver.log import NAME as LOG_NAME
from runengine.resolver.log import last_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.paths import Paths

BOOT = os.path.join(os.path.dirname(__file__), "boot.py")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""A caller's TMPDIR or LISTEN_FDS must not live on."""
START_LOCK = "starting"
START_TIMEOUT_S = 30.0


def directory_of(paths: Paths) -> str:
    """Where the engine's tables are."""
    return f"{paths.state}/dns"


def ensure(paths: Paths, gateways: Iterable[str] | None = None) -> None:
    """Return when a resolver listens on every gateway address of the tables as they are now.

    One is started if there is none; without a table there is nothing to do. Costs a round trip
    over a local socket otherwise. Raises Unavailable, also for an address that it cannot listen
    on, unless that is none of ``gateways``.
    """
    directory = directory_of(paths)
    if not tables.files(directory):
        return
    try:
        answer = control.ask(directory) or _start(directory)
    except TimeoutError as error:
        raise Unavailable(
            f"the DNS resolver of {directory} does not answer",
            details=str(error),
            resolution=f"see {directory}/{LOG_NAME}; it is started anew if it is killed",
        ) from None
    for address in answer.failures if gateways is None else gateways:
        reason = answer.failures.get(address)
        if reason is None:
            continue
        raise Unavailable(
            f"cannot serve DNS on the network's gateway {address}",
            details=reason,
            resolution="let the host's DNS server listen on its own addresses only",
        )


def _start(directory: str) -> control.Answer:
    """Start one, or find the one that somebody else has started meanwhile."""
    with locks.locked(f"{directory}/{START_LOCK}", timeout_s=START_TIMEOUT_S):
        answer = control.ask(directory)
        if answer is None:
            _spawn(directory)
            answer = control.ask(directory)
    if answer is None:
        raise Unavailable(
            f"the DNS resolver of {directory} does not start",
            details=last_line(directory) or None,
            resolution=f"see {directory}/{LOG_NAME}",
        )
    return answer


def _spawn(directory: str) -> None:
    """Start the process: clean environment, own session, nothing inherited."""
    pid = os.posix_spawn(
        sys.executable,
        command(directory),
        ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
    )
    # It ends when the resolver, its child, can be asked.
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def command(directory: str) -> list[str]:
    """The process's command line.

    ``-S`` leaves site-packages out, so the folders of ``runengine`` and ``dns`` go along; that
    is right for plain, editable and source-tree installs.
    """
    from importlib.util import find_spec

    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    dns = find_spec("dns")
    if dns is None or dns.origin is None:
        raise Unavailable(
            "names on user-defined networks need the Python package dnspython",
            resolution="pip install dnspython",
        )
    folder = os.path.dirname(os.path.dirname(dns.origin))
    return [sys.executable, "-I", "-S", "-X", "utf8", BOOT, directory, package, folder]
