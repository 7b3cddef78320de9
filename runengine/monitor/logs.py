"""Writes a container's output to its log, by whole chunks, within a fixed amount of disk.

``cri``: ``<time> <stream> F|P <text>`` a line (Kubernetes' CRI logging format). A chunk's
unfinished last line is written at once, tagged P, so that a prompt shows in the log.
``json-file``: Docker's ``{"log","stream","attrs","time"}`` a line. A line is held back until it
is whole or 16 KiB long; a record without a final newline goes on in the stream's next record.

Every record has one fixed-width time for its chunk, so that readers can slice by columns and
compare times as text. A file only ever ends in a whole record. On a full disk output is dropped
and counted; a record says how much as soon as the disk takes it.
"""

from __future__ import annotations

import errno
import os
import time

from runengine.monitor import rotation

TYPE_CHECKING = False  # Not from typing: that would cost every monitor a megabyte.
if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.monitor.compressing import Compressor
    from runengine.monitor.journald import JournalWriter
    from runengine.monitor.protocol import LogSpec
    from runengine.monitor.relay import Relay

PIECE_BYTES = 16 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_PRINTABLE = bytes(code for code in range(256) if code >= 0x20 or code == 0x0A)


class Clock:
    """RFC 3339 times of 30 characters, UTC."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._second = -1
        self._text = b""

    def stamp(self) -> bytes:
        """The current time; the part up to the second is formatted once a second."""
        second, rest = divmod(self._now_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        return b"%b%09dZ" % (self._text, rest)


class LogFile:
    """A file of records with its rotated predecessors ``.1`` (newest), ``.2``, ..."""

    def __init__(
        self, path: str, max_size: int, max_file: int, *, compress: bool = False
    ) -> None:
        self._path = path
        self._compressor = _compressor(path) if compress else None
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._fd = -1
        self._size = 0
        self.last_error: OSError | None = None

    def open(self) -> None:
        """Open for appending. A torn last record, left by a crash, is cut off. Raises OSError."""
        fd = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, rotation.MODE
        )
        try:
            self._size = _cut_torn_record(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def close(self) -> None:
        """Close the file; nothing was buffered."""
        self._close()
        if self._compressor is not None:
            self._compressor.close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def append(self, records: bytes) -> int:
        """Append whole records, rotating between them; how many bytes of them are in the log.

        That is less than all only where the disk refuses; ``last_error`` then says why.
        """
        done = 0
        while done < len(records):
            try:
                end = self._fit(records, done)
                if end == done:
                    self._rotate()
                    continue
                kept = self._write(records[done:end] if end - done < len(records) else records)
            except OSError as error:
                self.last_error = error
                return done
            done += kept
            if done < end:
                return done
        return done

    def _fit(self, records: bytes, start: int) -> int:
        """Where the records end that go into this file; ``start`` if it is time to rotate."""
        if self._fd < 0:
            self.open()
        room = self._max_size - self._size
        if self._max_size <= 0 or len(records) - start <= room:
            return len(records)
        end = records.rfind(b"\n", start, start + max(0, room)) + 1
        if end > start:
            return end
        # A record larger than a whole file goes into one of its own.
        return start if self._size else records.find(b"\n", start) + 1

    def _write(self, records: bytes) -> int:
        written = 0
        try:
            while written < len(records):
                written += os.write(self._fd, memoryview(records)[written:])
        except OSError as error:
            self.last_error = error
            whole = records.rfind(b"\n", 0, written) + 1
            if whole < written:
                os.ftruncate(self._fd, self._size + whole)
            written = whole
        self._size += written
        return written

    def _rotate(self) -> None:
        """Shift ``.n-1`` to ``.n`` and so on, then begin a new file.

        A follower that has the old file open finds it whole: nothing is written to a file once
        another has its name, and nothing is cut off.
        """
        self._close()
        if self._compressor is None:
            rotation.shift(self._path, self._max_file)
        else:
            with self._compressor.lock:
                rotation.shift(self._path, self._max_file)
            self._compressor.begin()
        self.open()


def _compressor(path: str) -> Compressor:
    from runengine.monitor.compressing import Compressor

    return Compressor(path)


class LogWriter:
    """Formats chunks of a container's output and appends them to its log. Never raises OSError."""

    full = False
    """A file takes all there is, or drops it: nobody waits for it."""
    room_fd: int | None = None

    def __init__(self, file: LogFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._open_lines: set[str] = set()
        self._dropped_bytes = 0
        self._why = ""

    def write(self, stream: str, data: bytes | memoryview) -> None:
        """Log a chunk of "stdout" or "stderr"; chunks may be cut anywhere."""
        if not data:
            return
        if self._dropped_bytes and not self._report():
            # What was held back went before the gap: it must not be joined to what comes after.
            self._dropped_bytes += len(data) + self._forget(stream)
            return
        self._append(stream, self._encode(stream, bytes(data), self._clock.stamp()))

    def missed(self, count: int, why: str) -> None:
        """Say that as many bytes of output never came here."""
        self._dropped_bytes += count + self._forget("stdout") + self._forget("stderr")
        self._why = why
        self._report()

    def close(self) -> None:
        """Write what is held back, and close the file."""
        for stream in ("stdout", "stderr"):
            held = self._flush(stream, self._clock.stamp())
            if held and not (self._dropped_bytes and not self._report()):
                self._append(stream, held)
        if self._dropped_bytes:
            self._report()
        self._file.close()

    def _append(self, stream: str, records: bytes) -> None:
        if not records:
            return
        kept = self._file.append(records)
        if kept:
            last = records[records.rfind(b"\n", 0, kept - 1) + 1 : kept]
            if self._ends_line(last):
                self._open_lines.discard(stream)
            else:
                self._open_lines.add(stream)
        if kept < len(records):
            self._dropped_bytes += self._payload(records) - self._payload(records[:kept])

    def _report(self) -> bool:
        """Say in the log how much is missing; False if the disk refuses still.

        Lines that were cut off by the gap are ended, or their rest would join a later line.
        """
        stamp = self._clock.stamp()
        error = getattr(self._file.last_error, "errno", None) or errno.EIO
        reason = self._why or os.strerror(error)
        text = f"runengine: {self._dropped_bytes} bytes of output dropped: {reason}\n".encode()
        ends = [self._record(stream, b"\n", stamp) for stream in sorted(self._open_lines)]
        records = b"".join(ends) + self._record("stderr", text, stamp)
        if self._file.append(records) < len(records):
            return False
        self._open_lines.clear()
        self._dropped_bytes = 0
        self._why = ""
        return True

    def _encode(self, stream: str, data: bytes, stamp: bytes) -> bytes:
        """Records for a chunk."""
        raise NotImplementedError

    def _flush(self, stream: str, stamp: bytes) -> bytes:
        """Records for what ``_encode`` held back."""
        raise NotImplementedError

    def _forget(self, stream: str) -> int:
        """Drop what ``_encode`` held back; how many bytes."""
        del stream
        return 0

    def _record(self, stream: str, text: bytes, stamp: bytes) -> bytes:
        """The record of one whole line."""
        raise NotImplementedError

    def _ends_line(self, record: bytes) -> bool:
        """Whether the record finishes its line."""
        raise NotImplementedError

    def _payload(self, records: bytes) -> int:
        """Bytes of output in the records."""
        raise NotImplementedError


class CriWriter(LogWriter):
    """Kubernetes' format; binary output is kept byte for byte."""

    def _encode(self, stream: str, data: bytes, stamp: bytes) -> bytes:
        head = b"%b %b " % (stamp, stream.encode())
        end = data.rfind(b"\n")
        parts = []
        if end >= 0:
            full = head + b"F "
            parts = [full, data[:end].replace(b"\n", b"\n" + full), b"\n"]
        if end + 1 < len(data):
            parts += [head, b"P ", data[end + 1 :], b"\n"]
        return b"".join(parts)

    def _flush(self, stream: str, stamp: bytes) -> bytes:
        del stream, stamp
        return b""

    def _record(self, stream: str, text: bytes, stamp: bytes) -> bytes:
        return b"%b %b F %b" % (stamp, stream.encode(), text)

    def _ends_line(self, record: bytes) -> bool:
        return record[38:39] == b"F"

    def _payload(self, records: bytes) -> int:
        lines = records.split(b"\n")[:-1]
        return sum(len(line) - 40 + (line[38:39] == b"F") for line in lines)


class JsonWriter(LogWriter):
    """Docker's format; output that is not UTF-8 gets replacement characters, as in Docker."""

    def __init__(self, file: LogFile, clock: Clock, attrs: dict[str, str]) -> None:
        super().__init__(file, clock)
        self._held = {"stdout": b"", "stderr": b""}
        self._begun: dict[str, bytes] = {}
        self._attrs = b""
        if attrs:
            import json

            self._attrs = b'"attrs":%b,' % json.dumps(attrs, separators=(",", ":")).encode()

    def _encode(self, stream: str, data: bytes, stamp: bytes) -> bytes:
        held = self._held[stream]
        if held:
            data = held + data
        begun = self._begun.pop(stream, None)
        parts = []
        start = 0
        for end in _pieces(data):
            # The pieces of one line have the time of its first.
            if begun is None:
                parts.append(self._records(stream, data[start:end], stamp))
            else:
                first = data.find(b"\n", start, end) + 1 or end
                parts.append(self._records(stream, data[start:first], begun))
                parts.append(self._records(stream, data[first:end], stamp))
                begun = None if data[first - 1 : first] == b"\n" else begun
            if begun is None and data[end - 1 : end] != b"\n":
                begun = stamp
            start = end
        self._held[stream] = data[start:]
        if begun is not None or start < len(data):
            self._begun[stream] = begun or stamp
        return b"".join(parts)

    def _flush(self, stream: str, stamp: bytes) -> bytes:
        held, self._held[stream] = self._held[stream], b""
        return self._records(stream, held, self._begun.pop(stream, stamp))

    def _forget(self, stream: str) -> int:
        held, self._held[stream] = self._held[stream], b""
        self._begun.pop(stream, None)
        return len(held)

    def _record(self, stream: str, text: bytes, stamp: bytes) -> bytes:
        return self._records(stream, text, stamp)

    def _records(self, stream: str, text: bytes, stamp: bytes) -> bytes:
        """One record for each line in ``text``, the last of which may be unfinished."""
        if not text:
            return b""
        tail = b'","stream":"%b",%b"time":"%b"}\n' % (stream.encode(), self._attrs, stamp)
        finished = text.endswith(b"\n")
        lines = _escape(text[:-1] if finished else text)
        body = lines.replace(b"\n", b'\\n%b{"log":"' % tail)
        return b"".join((b'{"log":"', body, b"\\n" if finished else b"", tail))

    def _ends_line(self, record: bytes) -> bool:
        text = record[: record.find(b'","stream":"')]
        before = text.removesuffix(b"n")
        # An odd number of backslashes before the n: an escaped newline, not an escaped backslash.
        return len(before) < len(text) and (len(before) - len(before.rstrip(b"\\"))) % 2 == 1

    def _payload(self, records: bytes) -> int:
        import json

        return sum(len(json.loads(line)["log"].encode()) for line in records.split(b"\n")[:-1])


class NullWriter(LogWriter):
    """The driver ``none``."""

    def __init__(self) -> None:
        super().__init__(LogFile("", 0, 1), Clock())

    def write(self, stream: str, data: bytes | memoryview) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing to do."""


def open_log(spec: LogSpec) -> LogWriter | Relay:
    """The log that ``spec`` asks for. Raises OSError; a full disk is no error."""
    if spec["driver"] == "journald":
        from runengine.monitor.journald import JournalWriter

        journal = JournalWriter(spec.get("fields", {}))
        journal.open()
        return _relayed(journal, spec)
    writer = _open_file(spec)
    return _relayed(writer, spec) if spec.get("mode") else writer


def _relayed(writer: JournalWriter | LogWriter, spec: LogSpec) -> Relay:
    from runengine.monitor.relay import Relay

    return Relay(writer, spec.get("buffer_bytes", 0), drops=bool(spec.get("mode")))


def _open_file(spec: LogSpec) -> LogWriter:
    if spec["driver"] == "none":
        return NullWriter()
    compress = spec.get("compress", False)
    file = LogFile(spec["path"], spec["max_size"], spec["max_file"], compress=compress)
    try:
        file.open()
    except OSError as error:
        if error.errno not in FULL:
            raise
        file.last_error = error
    if spec["driver"] == "cri":
        return CriWriter(file, Clock())
    return JsonWriter(file, Clock(), spec["attrs"])


def _pieces(data: bytes) -> list[int]:
    """Where to cut: after whole lines, and every 16 KiB in a line longer than that.

    What is behind the last cut is an unfinished line to be held back.
    """
    cuts = []
    start = done = 0
    while len(data) - start > PIECE_BYTES:
        end = data.rfind(b"\n", start, start + PIECE_BYTES + 1) + 1
        if end > start:
            start = end
            continue
        if start > done:
            cuts.append(start)
        start = done = _character_border(data, start + PIECE_BYTES, start)
        cuts.append(done)
    last = data.rfind(b"\n", start) + 1 or start
    if last > done:
        cuts.append(last)
    return cuts


def _character_border(data: bytes, end: int, start: int) -> int:
    """``end``, or up to three bytes before it where that would cut a UTF-8 sequence in two."""
    for border in range(end, max(start, end - 4), -1):
        if data[border] & 0xC0 != 0x80:
            return border
    return end


def _escape(text: bytes) -> bytes:
    """JSON string content; newlines are left for the caller."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode(errors="replace").encode()
    text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    for code in set(text.translate(None, _PRINTABLE)):
        text = text.replace(bytes((code,)), b"\\u%04x" % code)
    return text


def _cut_torn_record(fd: int) -> int:
    """Cut a file off behind its last newline; its size then."""
    size = os.fstat(fd).st_size
    end = size
    while end > 0:
        begin = max(0, end - PIECE_BYTES)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end < size:
        os.ftruncate(fd, end)
    return end
