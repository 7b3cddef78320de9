"""Talking to the service manager: readiness, and sockets that it made for us.

Sources: sd_notify(3), sd_listen_fds(3), systemd.socket(5).
"""

from __future__ import annotations

import os

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""


def notify(state: str) -> None:
    """Tell the service manager, such as ``READY=1``; nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + address[1:] if address[0] == "@" else address)
            sock.sendall(state.encode())
        except OSError:
            return  # readiness is noticed by a time-out then, and the manager says so


def listen_fds() -> list[int]:
    """Descriptors of the sockets that were passed to this process, and only to it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    return list(range(FIRST_FD, FIRST_FD + int(count))) if count.isdigit() else []


def forget() -> None:
    """Remove what was meant for this process alone, so that no child takes it for its own."""
    for name in ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC"):
        os.environ.pop(name, None)
