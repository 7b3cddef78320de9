"""One client's connection as the monitor sees it."""

from __future__ import annotations

import _socket
import os
import sys

from runengine.monitor import wire
from runengine.monitor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from runengine.monitor.loop import Loop
    from runengine.monitor.session import Session

    class Host(Protocol):
        """Who answers a client."""

        def on_request(self, peer: Peer, request: dict[str, Any]) -> None:
            """A control frame came."""

        def on_gone(self, peer: Peer) -> None:
            """The connection is closed."""


RECEIVE_SIZE = 64 << 10
SEND_SIZE = 256 << 10
BYSTANDER_LIMIT = 1 << 20
"""Unread output at which a client that merely watches is dropped."""
PRIMARY_HIGH = 256 << 10
"""Unread output at which the client that began a session slows the session down."""
PRIMARY_LOW = 64 << 10


class Peer:
    """Frames in, frames out; never waits for the client."""

    __slots__ = (
        "_backlog",
        "_ending",
        "_host",
        "_loop",
        "_paused",
        "_sock",
        "_splitter",
        "closed",
        "primary",
        "session",
        "wants",
        "writes_stdin",
    )

    def __init__(self, loop: Loop, sock: _socket.socket, host: Host) -> None:
        sock.setblocking(False)  # noqa: FBT003
        self._loop = loop
        self._sock = sock
        self._host = host
        self._splitter = wire.Splitter()
        self._backlog = bytearray()
        self._paused = False
        self._ending = False
        self.closed = False
        self.primary = False
        self.session: Session | None = None
        self.wants: tuple[int, ...] = ()
        self.writes_stdin = False
        self._watch()

    def _watch(self) -> None:
        mask = (0 if self._paused else READ) | (WRITE if self._backlog else 0)
        self._loop.watch(self._sock.fileno(), mask, self._on_event)

    def pause_input(self, *, paused: bool) -> None:
        """Read no more from the client, or go on."""
        if paused != self._paused and not self.closed:
            self._paused = paused
            self._watch()

    def event(self, message: dict[str, Any]) -> None:
        """Send a control frame."""
        self.send(wire.control(message))

    def error(self, kind: str, brief: str, resolution: str = "") -> None:
        """Send an error event; ``kind`` is the name of a class in runengine.errors."""
        self.event({"event": "error", "kind": kind, "brief": brief, "resolution": resolution})

    def output(self, stream: int, data: bytes) -> None:
        """Send output that the client asked for."""
        if stream in self.wants:
            self.send(wire.header(stream, len(data)), data)

    @property
    def backlog_bytes(self) -> int:
        """What the client has not taken yet."""
        return len(self._backlog)

    def send(self, *chunks: bytes) -> None:
        """Send, or keep what does not fit now; a bystander that keeps too much is dropped."""
        if self.closed:
            return
        if self._backlog:
            for chunk in chunks:
                self._backlog += chunk
        else:
            self._send_now(chunks)
        if len(self._backlog) > BYSTANDER_LIMIT and not self.primary:
            self.close()

    def _send_now(self, chunks: tuple[bytes, ...]) -> None:
        try:
            sent = self._sock.sendmsg(chunks, (), _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        for chunk in chunks:
            self._backlog += memoryview(chunk)[sent:]
            sent = max(0, sent - len(chunk))
        if self._backlog:
            self._watch()

    def end(self) -> None:
        """Close once everything is sent."""
        self._ending = True
        if not self._backlog:
            self.close()

    def close(self) -> None:
        """Close now."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        self._backlog = bytearray()
        if self.session:
            self.session.leave(self)
        self._host.on_gone(self)

    def _flush(self) -> None:
        try:
            with memoryview(self._backlog) as view:
                sent = self._sock.send(view[:SEND_SIZE], _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._backlog[:sent]
        if not self._backlog:
            self._watch()
            if self._ending:
                self.close()

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
            if self.session:
                self.session.slow_down_or_resume()
        if events & READ:
            self._receive()
        elif events & ~WRITE:
            self._receive_rest()

    def _receive_rest(self) -> None:
        """Take what a client that has left had sent while its input was paused."""
        while self._receive():
            pass
        self.close()

    def _receive(self) -> bool:
        """Take what has arrived; False if that was nothing, or the end."""
        if self.closed:
            return False
        try:
            data = self._take()
            frames = self._splitter.feed(data)
        except BlockingIOError:
            return False
        except (OSError, wire.ProtocolError):
            data, frames = b"", []
        for stream, payload in frames:
            if not self.closed:
                self._on_frame(stream, payload)
        if not data:
            self.close()
        return bool(data)

    def _take(self) -> bytes:
        return self._sock.recv(RECEIVE_SIZE)

    def _on_frame(self, stream: int, payload: bytes) -> None:
        if stream == wire.CONTROL:
            try:
                request = wire.loads(payload)
            except wire.ProtocolError as error:
                self.error("InvalidParameter", str(error))
            else:
                self._host.on_request(self, request)
        elif stream == wire.STDIN and self.session and self.writes_stdin:
            self.session.feed(payload)


class Control(Peer):
    """Whoever has started the monitor: with the job comes the container's lock."""

    __slots__ = ("_lock_fd",)

    def __init__(self, loop: Loop, sock: _socket.socket, host: Host) -> None:
        self._lock_fd: int | None = None
        super().__init__(loop, sock, host)

    def take_lock(self) -> int:
        """The lock's descriptor, which is the caller's from then on. Raises ValueError."""
        fd, self._lock_fd = self._lock_fd, None
        if fd is None:
            raise ValueError(f"{wire.LOCK_NAME} did not come with it")
        return fd

    def _take(self) -> bytes:
        room = _socket.CMSG_LEN(wire.FD_BYTES)
        data, ancillary, _, _ = self._sock.recvmsg(RECEIVE_SIZE, room, _socket.MSG_CMSG_CLOEXEC)
        for level, kind, packed in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                if self._lock_fd is not None:
                    os.close(self._lock_fd)
                self._lock_fd = int.from_bytes(packed[: wire.FD_BYTES], sys.byteorder)
        return data
