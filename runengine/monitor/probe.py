"""One run of a health check's command: its output, its time-out, and the end of all it began."""

from __future__ import annotations

import os

from runengine.linux import fsatomic
from runengine.monitor import cgroup, wire
from runengine.monitor.loop import stat_fields
from runengine.monitor.programs import cpus_of_exec
from runengine.monitor.starting import Plan, Starting
from runengine.runtime import argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from runengine.monitor.loop import Loop
    from runengine.monitor.programs import Programs
    from runengine.monitor.protocol import HealthSpec, Job
    from runengine.monitor.starting import Process
    from runengine.runtime.messages import Failure
else:
    import _signal as signal

OUTPUT_LIMIT = 4096
"""Bytes of output that are kept (as many as Docker keeps)."""
FAILED = -1
"""Exit code of a probe that was stopped, or could not begin."""
DRAIN_S = 2.0
RETRY_S, RETRY_MAX_S = 0.005, 1.0
"""How soon, and at most how late, to look again whether killed processes have gone."""
TAG = "probe"
SUB_CGROUP = "runengine-health"


class Output:
    """The beginning of what a probe writes; takes the place of a session's log."""

    __slots__ = ("_cut", "_data", "full", "room_fd")

    def __init__(self) -> None:
        self._data = b""
        self._cut = False
        self.full = False
        self.room_fd: int | None = None

    def write(self, _: str, data: bytes) -> None:
        """Keep what fits."""
        room = OUTPUT_LIMIT - len(self._data)
        self._data += data[:room]
        self._cut = self._cut or len(data) > room

    def close(self) -> None:
        """Nothing to flush."""

    def text(self) -> str:
        """What was kept; three dots stand for the rest."""
        return self._data.decode(errors="replace") + ("..." if self._cut else "")


class Tree:
    """Every process that comes from a probe, also when its parent has left it behind.

    They are in a cgroup of their own below the container's (in v1 in the freezer's hierarchy). A
    runtime that cannot place them there leaves the probe's session (setsid(2)) to go by.
    """

    __slots__ = ("_job", "option", "where")

    def __init__(self, job: Job) -> None:
        self._job = job
        self.where: dict[str, str] = {}
        self.option: str | None = None
        """Value of the runtime's ``--cgroup``."""

    def prepare(self) -> None:
        """Make the cgroup, unless it is there."""
        directories = self._job["cgroup"]
        controller = "freezer" if "freezer" in directories else "unified"
        version_2 = list(directories) == ["unified"]
        if not version_2 and not os.path.basename(self._job["runtime"][0]).startswith("runc"):
            return  # other runtimes know no hierarchies in --cgroup
        folder = f"{directories.get(controller, '')}/{SUB_CGROUP}"
        try:
            os.mkdir(folder, 0o755)
        except FileExistsError:
            pass
        except OSError:
            return
        self.where = {controller: folder}
        self.option = SUB_CGROUP if version_2 else f"{controller}:{SUB_CGROUP}"

    def kill(self, session: int) -> bool:
        """SIGKILL all of them; whether there were any. ``session`` is the probe's pid, or 0."""
        if self.where:
            return cgroup.kill(self.where)
        members = cgroup.members(self._job["cgroup"]) if session else []
        return sum(_kill_in_session(pid, session) for pid in members) > 0


def _kill_in_session(pid: int, session: int) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at with the descriptor open, which a process that takes the pid over has not.
        fields = stat_fields(pid)[1]
        found = bool(fields) and int(fields[3]) == session and fields[0] not in (b"Z", b"X")
        if found:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(fd)
    return found


class Probe:
    """Calls ``result`` once with exit code and output, then ``ended`` when nothing is left."""

    def __init__(
        self,
        loop: Loop,
        programs: Programs,
        job: Job,
        spec: HealthSpec,
        result: Callable[[int, str], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._programs = programs
        self._job = job
        self._spec = spec
        self._result: Callable[[int, str], None] | None = result
        self._ended = ended
        self._output = Output()
        self._tree = Tree(job)
        self._starting: Starting | None = None
        self._process: Process | None = None
        self._session = 0
        self._killed = False
        self._retry_s = RETRY_S
        self._timer = loop.later(spec["timeout_s"], self._timed_out)

    def begin(self) -> None:
        """Let the runtime start the command."""
        self._tree.prepare()
        self._starting = Starting(self._loop, self._programs, self._plan(), self._started)
        path = f"{self._job['state_dir']}/{TAG}.json"
        try:
            fsatomic.replace(path, wire.dumps(self._spec["process"]), durable=False)
            self._starting.begin()
        except OSError as error:
            self._timer.cancel()
            self._report(FAILED, f"cannot start the health check: {error}")
            self._clear()

    def _plan(self) -> Plan:
        job = self._job

        def build(log: str, pid_file: str, console: str | None) -> list[str]:
            return argv.exec_process(
                argv.with_log(job["runtime"], log),
                job["id"],
                f"{TAG}.json",
                pid_file=pid_file,
                console=console,
                cgroup=self._tree.option,
            )

        return Plan(
            TAG,
            job["state_dir"],
            build,
            terminal=False,
            console_size=None,
            open_stdin=False,
            close_on_eof=True,
            log=self._output,
            cpus=cpus_of_exec(job),
        )

    def _started(self, process: Process | None, failure: Failure | None) -> None:
        if process is None:
            self._timer.cancel()
            self._report(FAILED, failure.brief if failure else "the health check did not start")
            self._clear()
            return
        self._process = process
        self._session = process.pid
        process.session.begin()
        process.on_exit(self._exited)
        if self._killed:
            self.kill()

    def _exited(self, status: int, _: str) -> None:
        self._timer.cancel()
        process, self._process = self._process, None
        if process is None:
            raise AssertionError("no exit without a process")
        code = os.waitstatus_to_exitcode(status)
        # What it leaves behind would hold its streams open, and pile up.
        self._tree.kill(self._session)
        exit_code = 128 - code if code < 0 else code
        process.session.drain(DRAIN_S, lambda: self._drained(exit_code))

    def _drained(self, exit_code: int) -> None:
        self._report(exit_code, self._output.text())
        self._clear()

    def _timed_out(self) -> None:
        said = self._output.text()
        text = f"Health check exceeded timeout ({self._spec['timeout_text']})"
        self._report(FAILED, f"{text}: {said}" if said else text)
        self.kill()

    def cancel(self) -> None:
        """End it without a result: the container has ended."""
        self._result = None
        self.kill()

    def kill(self) -> None:
        """SIGKILL whatever there is of it; ``ended`` is called when it has gone."""
        self._killed = True
        self._timer.cancel()
        if self._process:
            # Our own child until it is reaped. It may have left the cgroup.
            os.kill(self._process.pid, signal.SIGKILL)
            self._tree.kill(self._session)
        elif self._starting:
            self._starting.abort()

    def _report(self, exit_code: int, output: str) -> None:
        result, self._result = self._result, None
        if result:
            result(exit_code, output)

    def _clear(self) -> None:
        if self._tree.kill(self._session):
            self._loop.later(self._retry_s, self._clear)
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
        else:
            self._ended()
