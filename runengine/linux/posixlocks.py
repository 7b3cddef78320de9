"""Who holds a lock of fcntl(2) on a file (proc_locks(5)); asked when somebody waits in vain."""

from __future__ import annotations

import os

LOOKS = 3
"""The list comes in pieces, and one that is there may be missed where others go between them."""


def writers(path: str, byte: int) -> list[str]:
    """Programs with a write lock on this byte, as ``sqlite3 (pid 7)``.

    The kernel shows none of another pid namespace.
    """
    pids: set[int] = set()
    try:
        found = os.stat(path)
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for _ in range(LOOKS):
            with open("/proc/locks", encoding="ascii") as file:
                pids |= {pid for line in file if (pid := _writer(line.split(), device, byte))}
            if pids:
                break
    except OSError:
        return []
    return [f"{_name(pid)} (pid {pid})" for pid in sorted(pids)]


def _writer(words: list[str], device: str, byte: int) -> int:
    """The holder's pid; 0 for another file, byte or kind, and for one who waits himself."""
    if len(words) != 8 or words[1] != "POSIX" or words[3] != "WRITE" or words[5] != device:
        return 0
    first, last = int(words[6]), words[7]
    inside = first <= byte and (last == "EOF" or byte <= int(last))
    return max(0, int(words[4])) if inside else 0


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
