"""How much disk a directory takes."""

from __future__ import annotations

import os
from typing import NamedTuple

from runengine.rootfs.walk import walk


class Usage(NamedTuple):
    """Blocks in use, in bytes, and inodes; a file with several names counts once."""

    size_bytes: int
    inodes: int


def disk_usage(path: str) -> Usage:
    """Usage of ``path`` and everything below it, as du(1) counts it.

    What vanishes meanwhile does not count. Raises OSError if ``path`` itself cannot be read.
    """
    count = Count()
    for visit in walk(path, count.entry):
        count.add(os.fstat(visit.fd))
    return count.usage()


class Count:
    """A sum under way."""

    def __init__(self) -> None:
        self.blocks = 0
        self.inodes = 0
        self._linked: set[tuple[int, int]] = set()

    def entry(self, fd: int, entry: os.DirEntry[str]) -> None:
        """Count something that is not a directory."""
        del fd
        try:
            seen = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if seen.st_nlink > 1:
            identity = (seen.st_dev, seen.st_ino)
            if identity in self._linked:
                return
            self._linked.add(identity)
        self.add(seen)

    def add(self, seen: os.stat_result) -> None:
        """Count an inode."""
        self.blocks += seen.st_blocks
        self.inodes += 1

    def usage(self) -> Usage:
        """What it comes to."""
        return Usage(self.blocks * 512, self.inodes)
