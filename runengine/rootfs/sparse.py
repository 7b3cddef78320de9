"""Where a file has data and where holes (lseek(2), SEEK_DATA and SEEK_HOLE)."""

from __future__ import annotations

import errno
import os

Segments = list[tuple[int, int]]
"""Offset and length of each piece of data, in order."""

WORTH_BYTES = 1 << 20
"""Holes of less than this together are written out: fewer readers know sparse files."""
MAX_SEGMENTS = 1 << 16
"""A file with more pieces is written out too, as the map has to be in memory."""


def map_of(fd: int, seen: os.stat_result) -> Segments | None:
    """The pieces of data of an open file; None if it is not worth while to leave its holes out."""
    size = seen.st_size
    if size - seen.st_blocks * 512 < WORTH_BYTES:
        return None
    segments: Segments = []
    position = 0
    try:
        while position < size and len(segments) <= MAX_SEGMENTS:
            start = _seek(fd, position, os.SEEK_DATA, size)
            position = _seek(fd, start, os.SEEK_HOLE, size) if start < size else size
            if start < position:
                segments.append((start, position - start))
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    held = sum(length for _, length in segments)
    if len(segments) > MAX_SEGMENTS or size - held < WORTH_BYTES:
        return None
    if not segments or sum(segments[-1]) < size:
        # An empty piece at the end: some readers take the file's length from it.
        segments.append((size, 0))
    return segments


def _seek(fd: int, position: int, whence: int, size: int) -> int:
    """Where the next data or hole begins; ``size`` where there is none."""
    try:
        return min(os.lseek(fd, position, whence), size)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size
