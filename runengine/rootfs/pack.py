"""Writes files as a tar archive: pax, numeric owners, extended attributes, hard links, holes.

Used wherever files leave the engine: exported containers, committed layers, copies. It reads
through descriptors only: a name is always a single one in an open directory, and no link is
followed, whatever the files do meanwhile. A file is what it was when it was opened: if it grows
the rest is left out, if it shrinks zeros fill it up.

    packer = Packer(FileSink(1))
    packer.tree(fd)                       # all of a directory, itself as "./"
    packer.add(fd, "hosts", "etc/hosts")  # one entry of a directory under another name
    packer.finish()

Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "PAX Format, Version 1.0".
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runengine.rootfs import attributes, packheader
from runengine.rootfs.copytree import same
from runengine.rootfs.sparse import map_of
from runengine.rootfs.walk import descend

if TYPE_CHECKING:
    from runengine.rootfs.copytree import Owners
    from runengine.rootfs.sparse import Segments

BLOCK = tarfile.BLOCKSIZE
SMALL_BYTES = 1 << 16
"""Up to here a file is read and goes out in one piece with its header."""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR})
"""It is not there any more, or something else is that opens in another way."""
_KINDS = {
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


class Sink(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object:
        """Take these bytes, all of them."""

    def copy(self, fd: int, size: int, /) -> None:
        """Take ``size`` bytes of a file from where it stands, zeros for what it does not have."""


class Style(NamedTuple):
    """What an archive keeps of the files besides what every tar has."""

    sparse: bool = True
    """Holes. The image-spec advises against them in layers: not every reader knows them."""
    whole_seconds: bool = False
    """Times without fractions, which cost two more blocks for each file."""


PLAIN = Style()
LAYER = Style(sparse=False, whole_seconds=True)


class Packer:
    """One archive on its way out. Methods raise OSError, of the files or of the sink."""

    def __init__(self, sink: Sink, style: Style = PLAIN, owners: Owners = same) -> None:
        """``owners`` has what those of the files are in the archive."""
        self._sink = sink
        self._owners = owners
        self._style = style
        self._links: dict[tuple[int, int], bytes] = {}

    def tree(self, fd: int, name: str = "") -> None:
        """The open directory and everything below it, as ``name``; mounts are not entered.

        Sorted by name, what is no directory first, so that equal trees give equal archives.
        Sockets are left out: no archive can hold them.
        """
        for listing in descend(fd):
            prefix = "/".join([name, *listing.names] if name else listing.names)
            self._directory(listing.fd, prefix)
            for base, is_file in listing.others:
                child = f"{prefix}/{base}" if prefix else base
                self.add(listing.fd, base, child, is_file=is_file)

    def add(self, dir_fd: int, base: str, name: str, *, is_file: bool = False) -> bool:
        """The entry ``base`` of an open directory as ``name``; of a directory only itself.

        A file with several names goes in once, its other names as links to the first. ``is_file``
        saves a look. False for what is gone by now, or cannot be in an archive.
        """
        try:
            if is_file:
                return self._add_open(dir_fd, base, name, _OPEN)
            seen = os.stat(base, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                return self._add_open(dir_fd, base, name, _OPEN)
            if stat.S_ISDIR(seen.st_mode):
                return self._add_open(dir_fd, base, name, _DIRECTORY)
            return self._other(dir_fd, base, name, seen)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise

    def empty(self, name: str) -> None:
        """A file with nothing in it, owned by root, as whiteouts are."""
        self._sink.write(packheader.build(packheader.Fields(os.fsencode(name), mode=0o600)))

    def finish(self) -> None:
        """The end of the archive."""
        self._sink.write(bytes(2 * BLOCK))

    def _add_open(self, dir_fd: int, base: str, name: str, flags: int) -> bool:
        fd = os.open(base, flags, dir_fd=dir_fd)
        try:
            seen = os.fstat(fd)
            if stat.S_ISDIR(seen.st_mode):
                self._directory(fd, name)
                return True
            if not stat.S_ISREG(seen.st_mode):
                return False  # something else by now
            self._file(fd, name, seen)
            return True
        finally:
            os.close(fd)

    def _directory(self, fd: int, name: str) -> None:
        seen = os.fstat(fd)
        fields = self._fields(os.fsencode(f"{name or '.'}/"), seen, tarfile.DIRTYPE)
        self._sink.write(packheader.build(fields, self._xattrs(fd)))

    def _file(self, fd: int, name: str, seen: os.stat_result) -> None:
        raw = os.fsencode(name)
        if seen.st_nlink > 1 and self._linked(raw, seen):
            return
        fields = self._fields(raw, seen, tarfile.REGTYPE)
        xattrs = self._xattrs(fd)
        size = seen.st_size
        if size <= SMALL_BYTES:
            data = os.read(fd, size) if size else b""
            # What it lacks, and the rest of the last block.
            rest = bytes(size - len(data) + -size % BLOCK)
            self._sink.write(packheader.build(fields._replace(size=size), xattrs) + data + rest)
            return
        segments = map_of(fd, seen) if self._style.sparse else None
        if segments is not None:
            self._sparse(fd, fields, xattrs, segments, size)
            return
        self._sink.write(packheader.build(fields._replace(size=size), xattrs))
        self._sink.copy(fd, size)
        self._pad(size)

    def _sparse(
        self,
        fd: int,
        fields: packheader.Fields,
        xattrs: dict[str, bytes],
        segments: Segments,
        size: int,
    ) -> None:
        head, stored = packheader.build_sparse(fields, xattrs, segments, size)
        self._sink.write(head)
        for offset, length in segments:
            os.lseek(fd, offset, os.SEEK_SET)
            self._sink.copy(fd, length)
        self._pad(stored)

    def _pad(self, size: int) -> None:
        if size % BLOCK:
            self._sink.write(bytes(-size % BLOCK))

    def _other(self, dir_fd: int, base: str, name: str, seen: os.stat_result) -> bool:
        kind = _KINDS.get(stat.S_IFMT(seen.st_mode))
        if kind is None:
            return False
        raw = os.fsencode(name)
        if seen.st_nlink > 1 and self._linked(raw, seen):
            return True
        fields = self._fields(raw, seen, kind)
        if kind == tarfile.SYMTYPE:
            fields = fields._replace(link=os.fsencode(os.readlink(base, dir_fd=dir_fd)))
        elif kind != tarfile.FIFOTYPE:
            fields = fields._replace(device=(os.major(seen.st_rdev), os.minor(seen.st_rdev)))
        path = f"/proc/self/fd/{dir_fd}/{base}"
        self._sink.write(packheader.build(fields, attributes.read_xattrs(path)))
        return True

    def _linked(self, name: bytes, seen: os.stat_result) -> bool:
        """Write a link to the name under which the file is in the archive, if it is."""
        key = seen.st_dev, seen.st_ino
        first = self._links.setdefault(key, name)
        if first == name:
            return False
        fields = self._fields(name, seen, tarfile.LNKTYPE)
        self._sink.write(packheader.build(fields._replace(link=first)))
        return True

    def _fields(self, name: bytes, seen: os.stat_result, kind: bytes) -> packheader.Fields:
        mtime_ns = seen.st_mtime_ns
        if self._style.whole_seconds:
            mtime_ns -= mtime_ns % 1_000_000_000
        return packheader.Fields(
            name,
            stat.S_IMODE(seen.st_mode),
            *self._owners(seen.st_uid, seen.st_gid),
            mtime_ns=mtime_ns,
            kind=kind,
        )

    def _xattrs(self, fd: int) -> dict[str, bytes]:
        return attributes.read_xattrs(fd)
