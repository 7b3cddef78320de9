"""File content: from the stream to disk with few calls, holes staying holes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.linux.fsatomic import write_all

if TYPE_CHECKING:
    from runengine.rootfs.stream import LayerStream
    from runengine.rootfs.tarheader import Member

HOLE_BYTES = 1 << 16
"""Zeros in a row from which on a hole is left in the file instead."""
_ZEROS = bytes(HOLE_BYTES)


def write_member(fd: int, member: Member, stream: LayerStream) -> bool:
    """Write the data of ``member``, next in the stream, to a new file.

    False if the stream ends too early. Raises OSError.
    """
    if member.segments is not None:
        return _write_sparse(fd, member, stream)
    size = member.stored
    if 0 < size < HOLE_BYTES:
        # Nearly all files: one piece, one call, no look for holes.
        buffer, start, end = stream.take(size)
        write_all(fd, memoryview(buffer)[start:end])
        size -= end - start
        if start == end:
            return False
    return _copy(fd, size, stream)


def _write_sparse(fd: int, member: Member, stream: LayerStream) -> bool:
    segments = member.segments or ()
    for offset, length in zip(segments[::2], segments[1::2], strict=True):
        if not length:
            continue
        os.lseek(fd, offset, os.SEEK_SET)
        if not _copy(fd, length, stream):
            return False
    os.ftruncate(fd, member.size)
    return True


def _copy(fd: int, size: int, stream: LayerStream) -> bool:
    """Copy ``size`` bytes to where ``fd`` stands; False if the stream ends too early."""
    hole = False
    while size:
        buffer, start, end = stream.take(size)
        if start == end:
            return False
        size -= end - start
        hole = _write_piece(fd, buffer, start, end)
    if hole:
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
    return True


def _write_piece(fd: int, buffer: bytearray, start: int, end: int) -> bool:
    """Write a piece but for long runs of zeros; True if it ends in a hole."""
    view = memoryview(buffer)
    done = position = start
    while position + HOLE_BYTES <= end:
        if not buffer.startswith(_ZEROS, position, position + HOLE_BYTES):
            position += HOLE_BYTES
            continue
        if done < position:
            write_all(fd, view[done:position])
        position += HOLE_BYTES
        done = position
        os.lseek(fd, HOLE_BYTES, os.SEEK_CUR)
    if done < end:
        write_all(fd, view[done:end])
    return done == end
