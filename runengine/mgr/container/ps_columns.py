"""ps(1) by psutil, for hosts without it: the columns of ``-f``, of ``u``, and those of ``-o``.

Names, titles and forms are procps's (ps(1), "STANDARD FORMAT SPECIFIERS").
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psutil import Process

_DAY_S = 24 * 3600
_KIB = 1024
_STATES = {
    "running": "R",
    "sleeping": "S",
    "disk-sleep": "D",
    "stopped": "T",
    "tracing-stop": "t",
    "zombie": "Z",
    "dead": "X",
    "idle": "I",
}


class Column(NamedTuple):
    """What is above it, and what a process has in it."""

    title: str
    show: Callable[[Process], str]


def table(pids: Iterable[int], columns: Sequence[Column]) -> dict[str, Any]:
    """The processes that are there and still live, in Docker's shape."""
    import psutil

    rows = []
    for pid in sorted(pids):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                rows.append([column.show(process) for column in columns])
        except (psutil.Error, OSError):
            continue  # it ended just now
    return {"Titles": [column.title for column in columns], "Processes": rows}


def column(name: str, title: str | None = None) -> Column:
    """A column by its name in ``-o``, under another title if one is given. InvalidParameter."""
    found = _COLUMNS.get(name)
    if found is None:
        raise InvalidParameter(
            f"ps: unknown user-defined format specifier {name!r}",
            resolution=f"without the program ps there are: {', '.join(sorted(_COLUMNS))}",
        )
    return found if title is None else found._replace(title=title)


def _elapsed_s(process: Process) -> float:
    return max(0.0, time.time() - process.create_time())


def _cpu_s(process: Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _percent(process: Process) -> float:
    elapsed_s = _elapsed_s(process)
    return min(99.9, 100 * _cpu_s(process) / elapsed_s) if elapsed_s else 0.0


def _hours(seconds: float) -> str:
    """``[DD-]hh:mm:ss``."""
    days, rest = divmod(int(seconds), _DAY_S)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def _elapsed(process: Process) -> str:
    """``[[DD-]hh:]mm:ss``."""
    seconds = _elapsed_s(process)
    return _hours(seconds) if seconds >= 3600 else _hours(seconds)[3:]


def _minutes(process: Process) -> str:
    seconds = int(_cpu_s(process))
    return f"{seconds // 60}:{seconds % 60:02}"


def started(created_s: float, now_s: float) -> str:
    """``hh:mm`` of a process of today, ``MmmDD`` of this year, else the year."""
    then, now = time.localtime(created_s), time.localtime(now_s)
    if then[:3] == now[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%b%d" if then.tm_year == now.tm_year else "%Y", then)


def _started(process: Process) -> str:
    return started(process.create_time(), time.time())


def _full_start(process: Process) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(process.create_time()))


def _tty(process: Process) -> str:
    return str(process.terminal() or "?").removeprefix("/dev/")


def _args(process: Process) -> str:
    return " ".join(process.cmdline()) or f"[{process.name()}]"


def _letter(process: Process) -> str:
    return _STATES.get(process.status(), "?")


def _state(process: Process) -> str:
    niceness = process.nice()
    marks = "<" if niceness < 0 else "N" if niceness > 0 else ""
    marks += "s" if os.getsid(process.pid) == process.pid else ""
    marks += "l" if process.num_threads() > 1 else ""
    return _letter(process) + marks


def _group(process: Process) -> str:
    import grp

    number = process.gids().effective
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _number(get: Callable[[Process], float]) -> Callable[[Process], str]:
    return lambda process: str(int(get(process)))


_USER = Column("USER", lambda process: process.username())
_COMMAND = Column("COMMAND", _args)
_NAME = Column("COMMAND", lambda process: process.name())
_TIME = Column("TIME", lambda process: _hours(_cpu_s(process)))
_CPU = Column("%CPU", lambda process: f"{_percent(process):.1f}")
_MEMORY = Column("%MEM", lambda process: f"{process.memory_percent():.1f}")
_RESIDENT = Column("RSS", _number(lambda process: process.memory_info().rss // _KIB))
_VIRTUAL = Column("VSZ", _number(lambda process: process.memory_info().vms // _KIB))
_UID = Column("UID", _number(lambda process: process.uids().effective))
_TERMINAL = Column("TT", _tty)
_THREADS = Column("NLWP", _number(lambda process: process.num_threads()))

_COLUMNS: dict[str, Column] = {
    "%cpu": _CPU,
    "%mem": _MEMORY,
    "args": _COMMAND,
    "c": Column("C", _number(_percent)),
    "cmd": Column("CMD", _args),
    "comm": _NAME,
    "command": _COMMAND,
    "cputime": _TIME,
    "egid": Column("EGID", _number(lambda process: process.gids().effective)),
    "egroup": Column("EGROUP", _group),
    "etime": Column("ELAPSED", _elapsed),
    "etimes": Column("ELAPSED", _number(_elapsed_s)),
    "euid": Column("EUID", _UID.show),
    "euser": Column("EUSER", _USER.show),
    "gid": Column("GID", _number(lambda process: process.gids().effective)),
    "group": Column("GROUP", _group),
    "lstart": Column("STARTED", _full_start),
    "ni": Column("NI", _number(lambda process: process.nice())),
    "nice": Column("NI", _number(lambda process: process.nice())),
    "nlwp": _THREADS,
    "pcpu": _CPU,
    "pgid": Column("PGID", _number(lambda process: os.getpgid(process.pid))),
    "pid": Column("PID", _number(lambda process: process.pid)),
    "pmem": _MEMORY,
    "ppid": Column("PPID", _number(lambda process: process.ppid())),
    "psr": Column("PSR", _number(lambda process: process.cpu_num())),
    "rss": _RESIDENT,
    "rsz": Column("RSZ", _RESIDENT.show),
    "ruid": Column("RUID", _number(lambda process: process.uids().real)),
    "s": Column("S", _letter),
    "sid": Column("SID", _number(lambda process: os.getsid(process.pid))),
    "start_time": Column("START", _started),
    "stat": Column("STAT", _state),
    "state": Column("S", _letter),
    "stime": Column("STIME", _started),
    "thcount": Column("THCNT", _THREADS.show),
    "time": _TIME,
    "tname": Column("TTY", _tty),
    "tt": _TERMINAL,
    "tty": _TERMINAL,
    "ucmd": Column("CMD", _NAME.show),
    "uid": _UID,
    "uname": _USER,
    "user": _USER,
    "vsize": Column("VSZ", _VIRTUAL.show),
    "vsz": _VIRTUAL,
}

FULL = (
    Column("UID", _USER.show),
    *map(column, ("pid", "ppid", "c", "stime")),
    Column("TTY", _tty),
    _TIME,
    Column("CMD", _args),
)
"""``-f``."""
BY_USER = (
    *map(column, ("user", "pid", "%cpu", "%mem", "vsz", "rss")),
    Column("TTY", _tty),
    *map(column, ("stat", "start_time")),
    Column("TIME", _minutes),
    _COMMAND,
)
"""BSD's ``u``."""
PLAIN = (column("pid"), Column("TTY", _tty), _TIME, column("ucmd"))
"""Without an option that says what to show."""
