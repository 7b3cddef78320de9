"""Writes a container's output to systemd's journal, a record a line, by its native protocol.

Fields are those of Docker's driver of that name, so that what searches the journal finds both. A
line longer than 16 KiB is several records, all but the last marked CONTAINER_PARTIAL_MESSAGE. An
unfinished line is held back until it is whole, as a record cannot be added to.
"""

from __future__ import annotations

import _socket
import errno
import os

SOCKET_PATH = "/run/systemd/journal/socket"
PIECE_BYTES = 16 * 1024
_PRIORITIES = {"stdout": b"6", "stderr": b"3"}
_PARTIAL = b"CONTAINER_PARTIAL_MESSAGE=true\n"


class JournalWriter:
    """Sends records. Whoever may not wait for the journal puts a relay before it."""

    full = False
    room_fd: int | None = None

    def __init__(self, fields: dict[str, str], path: str = SOCKET_PATH) -> None:
        self._fields = b"".join(_field(name, value) for name, value in fields.items())
        self._path = path
        self._socket: _socket.socket | None = None
        self._held = {"stdout": b"", "stderr": b""}
        self._dropped_bytes = 0
        self._why = ""

    def open(self) -> None:
        """Connect. Raises OSError naming the socket."""
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, os.strerror(error.errno or 0), self._path) from None
        self._socket = sock

    def write(self, stream: str, data: bytes) -> None:
        """Log a chunk of "stdout" or "stderr"; chunks may be cut anywhere."""
        if self._dropped_bytes:
            self._report()
        lines = (self._held[stream] + data).split(b"\n")
        for line in lines[:-1]:
            self._line(stream, line)
        rest = lines[-1]
        while len(rest) > PIECE_BYTES:
            self._record(stream, rest[:PIECE_BYTES], partial=True)
            rest = rest[PIECE_BYTES:]
        self._held[stream] = rest

    def missed(self, count: int, why: str) -> None:
        """Say that as many bytes are missing; what was held back went before them."""
        self._flush()
        self._dropped_bytes += count
        self._why = why
        self._report()

    def close(self) -> None:
        """Send what is held back, and disconnect."""
        self._flush()
        if self._dropped_bytes:
            self._report()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _flush(self) -> None:
        for stream, held in self._held.items():
            if held:
                self._record(stream, held)
            self._held[stream] = b""

    def _line(self, stream: str, line: bytes) -> None:
        while len(line) > PIECE_BYTES:
            self._record(stream, line[:PIECE_BYTES], partial=True)
            line = line[PIECE_BYTES:]
        self._record(stream, line)

    def _record(self, stream: str, text: bytes, *, partial: bool = False) -> None:
        error = self._send(stream, text, partial=partial)
        if error is not None:
            self._dropped_bytes += len(text) + (not partial)
            self._why = os.strerror(error)

    def _report(self) -> None:
        text = f"runengine: {self._dropped_bytes} bytes of output dropped: {self._why}"
        if self._send("stderr", text.encode()) is None:
            self._dropped_bytes = 0

    def _send(self, stream: str, text: bytes, *, partial: bool = False) -> int | None:
        """Send a record, to the journal's next life if this one has ended; the error's number."""
        priority = b"PRIORITY=%b\n" % _PRIORITIES[stream]
        parts = (_field("MESSAGE", text), self._fields, priority, _PARTIAL if partial else b"")
        record = b"".join(parts)
        code = errno.ENOTCONN
        for _ in range(2):
            try:
                if self._socket is None:
                    self.open()
                if self._socket is not None:
                    self._socket.send(record, _socket.MSG_NOSIGNAL)
                return None
            except OSError as error:
                code = error.errno or errno.EIO
                if code not in (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET):
                    break
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None
        return code


def _field(name: str, value: str | bytes) -> bytes:
    """With its length, so that any bytes may be in it."""
    data = value.encode(errors="replace") if isinstance(value, str) else value
    return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
