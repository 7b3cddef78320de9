"""What went through the interfaces of a process's namespace (proc_pid_net(5))."""

from __future__ import annotations

from runengine.errors import NotFound
from runengine.netns.types import Counters

_LOOPBACK = "lo"


def read(pid: int) -> dict[str, Counters]:
    """Counters by name of interface, without the loopback's; no socket is needed.

    The caller makes sure that the process is the one it means (linux/pidfd.py). Raises NotFound.
    """
    try:
        with open(f"/proc/{pid}/net/dev", encoding="utf-8", errors="replace") as file:
            return parse(file.read())
    except (FileNotFoundError, ProcessLookupError, OSError):
        raise NotFound(f"no counters of process {pid}: it has ended") from None


def parse(text: str) -> dict[str, Counters]:
    """The counters in the text of /proc/PID/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, separator, numbers = line.strip().rpartition(":")
        fields = numbers.split()
        if not separator or len(fields) < 12 or name == _LOOPBACK:
            continue
        values = [int(field) for field in fields]
        found[name] = Counters(*values[:4], *values[8:12])
    return found
