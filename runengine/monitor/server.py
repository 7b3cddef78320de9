"""The container's lock and its listening socket.

The lock is taken by whoever starts the container, who holds the container itself meanwhile, and
comes with the job: an open file's lock is held by all who have it, on its way as well (flock(2),
unix(7)). So whoever comes next, and would settle or remove the container, finds it locked from
before the job is sent to after the monitor's end, whatever dies in between.
"""

from __future__ import annotations

import _socket
import os

from runengine.monitor import wire
from runengine.monitor.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.monitor.loop import Loop


class Server:
    """Held for the container's life: ``monitor.lock``, ``monitor.sock``."""

    def __init__(
        self,
        loop: Loop,
        directory: str,
        lock_fd: int,
        on_connect: Callable[[_socket.socket], None],
    ) -> None:
        self._loop = loop
        self._directory = directory
        self._lock_fd: int | None = lock_fd
        self._on_connect = on_connect
        self._listener: _socket.socket | None = None

    def listen(self) -> None:
        """Accept clients; only root can connect. Raises OSError."""
        path = f"{self._directory}/{wire.SOCKET_NAME}"
        if os.path.lexists(path):
            os.unlink(path)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        # By the short name, as a socket's address holds 108 bytes only.
        os.chdir(self._directory)
        old = os.umask(0o177)
        try:
            listener.bind(wire.SOCKET_NAME)
        finally:
            os.umask(old)
            os.chdir("/")
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003
        self._listener = listener
        self._loop.watch(listener.fileno(), READ, lambda _: self._accept(listener))

    def _accept(self, listener: _socket.socket) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):
            return
        self._on_connect(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd))

    def close(self) -> None:
        """Vanish: first the socket's name, then the lock, so that a successor's stay."""
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
            path = f"{self._directory}/{wire.SOCKET_NAME}"
            if os.path.lexists(path):
                os.unlink(path)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
