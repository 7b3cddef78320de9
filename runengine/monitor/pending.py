"""A restart that is due after a while: a note of it, a sleep, then the command that decides.

Loaded only at the end of a container with a restart policy. Neither a lock nor a socket is held
meanwhile: whoever has the container's lock may end this process by what the note says of it.
"""

from __future__ import annotations

import os
import time

from runengine.linux import fsatomic
from runengine.monitor import wire
from runengine.monitor.loop import stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from runengine.monitor.loop import Loop
    from runengine.monitor.programs import Programs
else:
    import _signal as signal

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 60.0
LONG_RUN_S = 10.0
"""As in the engine's policy, which decides; here they only say when it is asked."""


def delay_s(restart: dict[str, Any], exit_code: int | None, ran_s: float) -> float | None:
    """How long to wait before the command is asked; None if this exit is no reason to."""
    if restart.get("only_failure") and exit_code == 0:
        return None
    return FIRST_DELAY_S if ran_s >= LONG_RUN_S else float(restart["delay_s"])


class Pending:
    """One wait. A command that fails (a full disk, a kill) is run again, ever more patiently."""

    def __init__(
        self,
        loop: Loop,
        programs: Programs,
        state_dir: str,
        command: list[str],
        delay_s: float,
        *,
        done: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        self.is_active = True
        self._loop = loop
        self._programs = programs
        self._path = f"{state_dir}/{wire.RESTART_NAME}"
        self._command = command
        self._delay_s = delay_s
        self._done = done
        self._report = report
        self._due = 0.0
        self._note()

    def _note(self) -> None:
        """Say who waits and until when: seconds of the monotonic clock, the same everywhere."""
        self._due = time.monotonic() + self._delay_s
        pid = os.getpid()
        note = {
            "pid": pid,
            "start_time": int(stat_fields(pid)[1][19]),
            "due": self._due,
        }
        try:
            fsatomic.replace(self._path, wire.dumps(note), durable=False)
        except FileNotFoundError:
            self._due = 0.0  # the container is gone: so the command says at once
        except OSError as error:
            self._report(f"cannot write {self._path}: {error}")

    def begin(self) -> None:
        """Wait from now on; a SIGTERM ends this process, as nothing would be lost."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        self._wait()

    def _wait(self) -> None:
        self._loop.later(max(0.0, self._due - time.monotonic()), self._run)

    def _run(self) -> None:
        try:
            pid = self._programs.spawn(self._command, own_session=True)
        except OSError as error:
            self._report(f"cannot run {self._command}: {error}")
            self._ended(1, "")
            return
        # Until it has ended, so that what is being restarted shows as such.
        self._loop.on_exit(pid, self._ended)

    def _ended(self, status: int, _: str) -> None:
        if status:
            self._delay_s = min(max(self._delay_s * 2, FIRST_DELAY_S), MAX_DELAY_S)
            self._note()
            self._wait()
            return
        self.is_active = False
        self._done()
