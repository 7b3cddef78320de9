"""Starts programs for the monitor: the runtime, and the command that runs after the exit."""

from __future__ import annotations

import os

from runengine.linux import fsatomic
from runengine.monitor.wire import ENVIRONMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

    from runengine.monitor.protocol import Job
else:
    import _signal as signal

OWN_OOM_SCORE = b"-999"
"""Chosen almost never: its end would cost an exit code (proc_pid_oom_score_adj(5))."""
_OOM_FILE = "/proc/self/oom_score_adj"
_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def cpus_of_init(job: Job) -> Iterable[int] | None:
    """Where the runtime begins to start a container; None: where we are.

    Of one that has CPUs of its own these are added to ours, so that all of them are left in its
    control group, and the runtime disturbs nobody on others.
    """
    pinned, ours = job.get("pinned"), os.sched_getaffinity(0)
    return None if not pinned or ours.issuperset(pinned) else ours.union(pinned)


def cpus_of_exec(job: Job, own: Iterable[int] | None = None) -> Iterable[int] | None:
    """Where it begins to add a process; ``own`` are this one's, before the container's."""
    return own or job.get("exec_cpus") or cpus_of_init(job)


class Programs:
    """Starts programs with default signals, a clean environment, and the caller's OOM score."""

    def __init__(self) -> None:
        self._score = _read(_OOM_FILE)
        self._protected = _write(_OOM_FILE, OWN_OOM_SCORE)

    def spawn(
        self,
        argv: list[str],
        *,
        stdio: tuple[int, int, int] = (0, 1, 2),
        directory: str = "/",
        own_session: bool = False,
        cpus: Iterable[int] | None = None,
    ) -> int:
        """Start ``argv`` in ``directory`` with these descriptors as 0, 1, 2; its pid.

        ``cpus`` is where it may run, if not where we may.
        Raises OSError if there is no such program or directory.
        """
        actions = [
            (os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio) if fd != number
        ]
        # posix_spawn knows no working directory: it is ours for a moment. So is the OOM score,
        # which a container would inherit, and where it may run.
        ours = os.sched_getaffinity(0) if cpus is not None else ()
        os.chdir(directory)
        try:
            if self._protected:
                _write(_OOM_FILE, self._score)
            if cpus is not None:
                os.sched_setaffinity(0, cpus)
            return os.posix_spawnp(
                argv[0],
                argv,
                ENVIRONMENT,
                file_actions=actions,
                setsigdef=_RESET,
                setsigmask=[],
                setsid=own_session,
            )
        finally:
            if self._protected:
                _write(_OOM_FILE, OWN_OOM_SCORE)
            os.chdir("/")
            if ours:
                os.sched_setaffinity(0, ours)


def _read(path: str) -> bytes:
    try:
        return fsatomic.read_optional(path) or b"0"
    except OSError:
        return b"0"


def _write(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, data)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
