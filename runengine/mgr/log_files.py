"""A log's files: opening them all as of one moment, and going on when the writer rotates.

A follower keeps the file it reads open, and goes on to the next one once the writer has given
its own file another name: from then on nothing is written to it, so that reading it to its end
loses and doubles nothing. Only a follower that falls behind by the whole log finds its next file
gone, and learns that.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.monitor import compressing, rotation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runengine.linux.inotify import DirectoryWatch
    from runengine.mgr.log_lines import Format

BLOCK_BYTES = 1 << 20
TAIL_BLOCK_BYTES = 1 << 16
POLL_INTERVAL_S = 0.25
SETTLE_ATTEMPTS = 100
SETTLE_INTERVAL_S = 0.001
_GZIP = 31
"""zlib's word for deflate in gzip's wrapping."""
_FIELD_AT = 12  # behind the fixed header and the length of the extra field
_HEADER_BYTES = 64


class File:
    """One file of a log, open. Raises FileNotFoundError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        self.identity = (found.st_dev, found.st_ino)
        self._size = found.st_size
        self.offset = 0

    @property
    def fd(self) -> int:
        """Where its text is."""
        return self._fd

    @property
    def size(self) -> int:
        """Bytes of text at the time of opening."""
        return self._size

    def was(self, identity: tuple[int, int] | None) -> bool:
        """Whether it is, or was before it was compressed, the file of this identity."""
        return self.identity == identity

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)

    def blocks(self, end: int | None = None) -> Iterator[bytes]:
        """Whole records from ``offset``, which moves along, to ``end`` or to what there is.

        An unfinished record stays for the next time.
        """
        wanted = BLOCK_BYTES
        while end is None or self.offset < end:
            room = wanted if end is None else min(wanted, end - self.offset)
            data = os.pread(self.fd, room, self.offset)
            cut = data.rfind(b"\n") + 1
            if cut:
                self.offset += cut
                wanted = BLOCK_BYTES
                yield data[:cut] if cut < len(data) else data
            elif len(data) < wanted:
                return
            else:
                wanted *= 2  # a record longer than the block

    def blocks_backwards(self) -> Iterator[tuple[int, bytes]]:
        """Whole records from the end on, with their offset; the last may be unfinished."""
        end, wanted = self.size, TAIL_BLOCK_BYTES
        while end > 0:
            begin = max(0, end - wanted)
            data = os.pread(self.fd, end - begin, begin)
            # Without the record that begins before the block.
            cut = data.find(b"\n") + 1 if begin else 0
            if begin and cut in (0, len(data)):
                wanted *= 2
                continue
            end, wanted = begin + cut, TAIL_BLOCK_BYTES
            yield end, data[cut:]

    def seek_end(self) -> None:
        """Go behind the last whole record."""
        for offset, block in self.blocks_backwards():
            self.offset = offset + block.rfind(b"\n") + 1
            return


class CompressedFile(File):
    """One that the log's writer has compressed; inflated when its text is first asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._packed = True
        self._before = _before(os.pread(self._fd, _HEADER_BYTES, 0))

    @property
    def fd(self) -> int:
        """Where its text is: a file without a name."""
        if self._packed:
            self._inflate()
        return self._fd

    @property
    def size(self) -> int:
        """Bytes of text."""
        if self._packed:
            self._inflate()
        return self._size

    def was(self, identity: tuple[int, int] | None) -> bool:
        """See ``File.was``."""
        return identity is not None and identity in (self.identity, self._before)

    def _inflate(self) -> None:
        import tempfile
        import zlib

        stream = zlib.decompressobj(_GZIP)
        with tempfile.TemporaryFile() as target, open(self._fd, "rb", closefd=False) as source:
            with suppress(zlib.error):  # damaged: what comes before that is read
                while data := source.read(BLOCK_BYTES):
                    target.write(stream.decompress(data))
            target.flush()
            self._size = target.tell()
            os.dup2(target.fileno(), self._fd, inheritable=False)
        self._packed = False


def _before(header: bytes) -> tuple[int, int] | None:
    """The identity that the compressed file had, as ``compressing`` writes it."""
    field = header[_FIELD_AT:]
    if field[: len(compressing.FIELD)] != compressing.FIELD:
        return None
    numbers = field[len(compressing.FIELD) + 2 :]
    size = compressing.IDENTITY_BYTES
    device, inode = (int.from_bytes(numbers[at : at + size], sys.byteorder) for at in (0, size))
    return device, inode


def _open_file(path: str) -> File:
    """In whichever form it is. Raises FileNotFoundError."""
    try:
        return File(path)
    except FileNotFoundError:
        return CompressedFile(path + rotation.SUFFIX)


class LogReader:
    """A log's files, oldest first, and how far they are read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files = open_chain(path)
        self._gap = False

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._forget(len(self._files))

    def written(self) -> Iterator[bytes]:
        """What was written when the log was opened, in blocks of whole records."""
        for file in self._files:
            yield from file.blocks(file.size)

    def rest(self) -> Iterator[bytes | None]:
        """All that is written and was not read yet; None where some is lost for good."""
        while True:
            while self._files:
                yield from self._files[0].blocks()
                if len(self._files) == 1:
                    break
                self._forget(1)
                if self._gap:
                    self._gap = False
                    yield None
            if not self._next_files():
                return

    def _forget(self, count: int) -> None:
        for file in self._files[:count]:
            file.close()
        del self._files[:count]

    def _next_files(self) -> bool:
        """Whether the writer has moved on; then the files after the current one are open too."""
        if not self._files:
            self._files = open_chain(self.path)
            return bool(self._files)
        current = self._files[0].identity
        if identity(self.path) in (current, None):
            return False
        chain = open_chain(self.path, current)
        if chain and chain[0].was(current):
            chain.pop(0).close()
        else:
            # With one file only there is nothing to tell by, and nothing else to be expected.
            self._gap = len(chain) > 1
        self._files += chain
        return len(self._files) > 1

    def seek_end(self) -> None:
        """Go behind all that is written."""
        self._forget(len(self._files) - 1)
        for file in self._files:
            file.seek_end()

    def seek_tail(self, lines: Format, streams: Collection[str], count: int) -> int:
        """Go to before the last ``count`` lines; how many lines to skip from there."""
        if count == 0:
            self.seek_end()
            return 0
        self._go_back(lines, streams, count)
        return max(0, self._count_ahead(lines, streams) - count)

    def _go_back(self, lines: Format, streams: Collection[str], count: int) -> None:
        # In each stream a line may have begun before the place that we find: so go further.
        missing = count + len(streams)
        for index in reversed(range(len(self._files))):
            for offset, block in self._files[index].blocks_backwards():
                missing -= lines.count_lines(block, streams)
                if missing <= 0:
                    self._files[index].offset = offset
                    self._forget(index)
                    return

    def _count_ahead(self, lines: Format, streams: Collection[str]) -> int:
        """How many lines begin from here on, in what is written."""
        open_lines: set[str] = set()
        total = 0
        for file in self._files:
            start = file.offset
            for block in file.blocks(file.size):
                for _, stream, text in lines.pieces(block):
                    if stream in streams:
                        total += stream not in open_lines
                        open_lines.discard(stream)
                        if not text.endswith(b"\n"):
                            open_lines.add(stream)
            file.offset = start
        return total


def open_chain(path: str, oldest: tuple[int, int] | None = None) -> list[File]:
    """The log's files, oldest first, as they were at one moment; none if there is no log.

    Nothing before the file ``oldest``, if that is still there. A writer that died while it
    rotated left a hole: the other files are the log then.
    """
    patience = SETTLE_ATTEMPTS
    while True:
        newest = identity(path)
        files, holes = _open_all(path, oldest)
        found = [file.identity for file in files]
        settled = identity(path) == newest and len(set(found)) == len(found)
        if settled and found[:1] == ([newest] if newest else []) and not holes:
            return files[::-1]
        if settled:
            patience -= 1
            if not patience:
                return files[::-1]
            time.sleep(SETTLE_INTERVAL_S)
        # The writer is rotating: look again.
        for file in files:
            file.close()


def _open_all(path: str, oldest: tuple[int, int] | None) -> tuple[list[File], int]:
    """Every file back to ``oldest``, newest first, and how many between them are missing."""
    files: list[File] = []
    number = holes = missing = 0
    while missing < 2 and not (files and files[-1].was(oldest)):
        try:
            files.append(_open_file(f"{path}.{number}") if number else File(path))
            holes, missing = holes + missing, 0
        except FileNotFoundError:
            missing += 1
        number += 1
    return files, holes


def identity(path: str) -> tuple[int, int] | None:
    """What tells a file from any other, whatever its name; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Waiter:
    """Sleeps until something happens in a directory, or for a moment."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._watch: DirectoryWatch | None = None

    def __enter__(self) -> Waiter:
        from runengine.linux.inotify import DirectoryWatch

        try:
            self._watch = DirectoryWatch(self._directory)
        except OSError:
            # No directory yet, or no inotify instance left on this host: the poll does it all.
            self._watch = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()

    def wait(self) -> None:
        """Return after a change, or after a quarter of a second."""
        if self._watch is None:
            time.sleep(POLL_INTERVAL_S)
        else:
            self._watch.wait(POLL_INTERVAL_S)
