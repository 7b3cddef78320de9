"""The container's lock and its listening socket."""

from __future__ import annotations

import _socket
import fcntl
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
        self, loop: Loop, directory: str, on_connect: Callable[[_socket.socket], None]
    ) -> None:
        self._loop = loop
        self._directory = directory
        self._on_connect = on_connect
        self._lock_fd: int | None = None
        self._listener: _socket.socket | None = None

    def lock(self) -> bool:
        """Take the lock; False if another monitor has it. Raises OSError."""
        while True:
            path = f"{self._directory}/{wire.LOCK_NAME}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            if os.fstat(fd).st_nlink:
                self._lock_fd = fd
                return True
            os.close(fd)  # removed between open and lock: that lock counts for nothing

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
