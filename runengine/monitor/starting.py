"""Starts one process through the runtime, with pipes or a terminal, and adopts it."""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import time

from runengine.linux import clock, fsatomic
from runengine.monitor import wire
from runengine.monitor.loop import READ, UNSTARTED, process_name, set_nonblocking, stat_fields
from runengine.monitor.session import Session, Streams, set_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable

    from runengine.monitor.loop import Loop, Timer
    from runengine.monitor.programs import Programs
    from runengine.monitor.session import Log
    from runengine.runtime.messages import Failure
else:
    import _signal as signal

SOCKET_PATH_BYTES = 107
"""Longest path in a socket's address (unix(7))."""
PTS_MAJOR = 136
"""First major number of pseudo-terminals, 256 each (Linux, admin-guide/devices.txt)."""
TIOCGPTN = 0x80045430
"""Number of a master's terminal (ioctl_tty(2))."""
LOOK_S = 1.0
"""How often a runtime that takes longer than this is looked at."""
SAID_BYTES = 512
"""So much of a failed runtime's own words is looked at."""
SETTLE_INTERVAL_S = 0.002
SETTLE_ATTEMPTS = 50
"""How often to look whether the init has become the program; then it counts as started."""


class Plan:
    """What to start, and with which streams."""

    __slots__ = (
        "build",
        "close_on_eof",
        "console_size",
        "cpus",
        "directory",
        "log",
        "open_stdin",
        "output",
        "runtime_directory",
        "tag",
        "terminal",
    )

    def __init__(
        self,
        tag: str,
        directory: str,
        build: Callable[[str, str, str | None], list[str]],
        *,
        terminal: bool,
        console_size: list[int] | None,
        open_stdin: bool,
        close_on_eof: bool,
        runtime_directory: str = "",
        log: Log | None = None,
        output: str = "",
        cpus: Iterable[int] | None = None,
    ) -> None:
        self.tag = tag
        self.directory = directory
        self.runtime_directory = runtime_directory or directory
        """Where the runtime is when it connects to the console socket."""
        self.build = build
        """From the names of log, pid file and console socket to the runtime's command line."""
        self.terminal = terminal
        self.console_size = console_size
        self.open_stdin = open_stdin
        self.close_on_eof = close_on_eof
        self.log = log
        self.output = output
        """File that takes all it writes; without one it comes to us."""
        self.cpus = cpus
        """Where the runtime runs, and from there the process; None: where we do.

        What the kernel lets a process choose itself outlasts its way into the cgroup, so that of
        a caller who is bound somewhere would also bind it (sched_setaffinity(2), Linux 6.2).
        """


class Process:
    """A process that runs, or has ended already."""

    __slots__ = ("_handler", "exit", "pid", "session", "start_time", "started_at")

    def __init__(self, pid: int, start_time: int, session: Session, started_at: str) -> None:
        self.pid = pid
        self.start_time = start_time
        self.session = session
        self.started_at = started_at
        self.exit: tuple[int, str] | None = None
        self._handler: Callable[[int, str], None] | None = None

    def ended(self, status: int, name: str) -> None:
        """Its wait status and last name are known."""
        self.exit = (status, name)
        if self._handler:
            self._handler(status, name)

    def on_exit(self, handler: Callable[[int, str], None]) -> None:
        """Call ``handler`` at its end, or now if that was."""
        self._handler = handler
        if self.exit:
            handler(*self.exit)


class Starting:
    """A start under way; ends in one call of ``done`` with a Process or a Failure."""

    def __init__(
        self,
        loop: Loop,
        programs: Programs,
        plan: Plan,
        done: Callable[[Process | None, Failure | None], None],
    ) -> None:
        self._loop = loop
        self._programs = programs
        self._plan = plan
        self._done = done
        self._streams: Streams | None = None
        self._listener: _socket.socket | None = None
        self._console: _socket.socket | None = None
        self._attempts = 0
        self._runtime_pid = 0
        self._attention: Timer | None = None
        self._hangs: Failure | None = None

    def begin(self) -> None:
        """Spawn the runtime. Raises OSError with nothing left if that cannot be."""
        plan = self._plan
        ours, theirs = (None, [0, 0, 0]) if plan.terminal else _pipes(plan.open_stdin, plan.output)
        self._streams = ours
        console = self._listen() if plan.terminal else None
        command = plan.build(self._name("log"), self._name("pid"), console)
        self._loop.expect()
        try:
            pid = self._programs.spawn(
                command,
                stdio=(theirs[0], theirs[1], theirs[2]),
                directory=plan.directory,
                cpus=plan.cpus,
            )
        except OSError:
            self._loop.expected()
            self._abandon()
            raise
        finally:
            for fd in set(theirs) - {0}:
                os.close(fd)
        self._runtime_pid = pid
        self._loop.on_exit(pid, self._runtime_ended)
        self._attention = self._loop.later(LOOK_S, self._look)

    def abort(self) -> None:
        """Kill the runtime if it still runs; ``done`` is called as ever."""
        if self._runtime_pid:
            os.kill(self._runtime_pid, signal.SIGKILL)

    def _look(self) -> None:
        """It takes long: end it if it cannot end by itself."""
        from runengine.monitor.hanging import Look

        look = Look(self._runtime_pid, time.monotonic() - LOOK_S)

        def again() -> None:
            self._hangs = look()
            if self._hangs:
                self.abort()
            else:
                self._attention = self._loop.later(LOOK_S, again)

        again()

    def _name(self, suffix: str) -> str:
        return f"{self._plan.tag}.{suffix}"

    def _path(self, suffix: str) -> str:
        return f"{self._plan.directory}/{self._name(suffix)}"

    # The terminal: runc sends its master (runc's docs/terminals.md, "detached pass-through").

    def _listen(self) -> str:
        name = self._name("console")
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        _unlink(self._path("console"))
        # By the short name, as a socket's address holds 108 bytes only.
        os.chdir(self._plan.directory)
        try:
            listener.bind(name)
        finally:
            os.chdir("/")
        listener.listen(1)
        listener.setblocking(False)  # noqa: FBT003
        self._listener = listener
        self._loop.watch(listener.fileno(), READ, lambda _: self._accept())
        path = self._path("console")
        if len(path.encode()) <= SOCKET_PATH_BYTES:
            return path
        start = os.path.realpath(self._plan.runtime_directory)
        return os.path.relpath(os.path.realpath(path), start)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        self._console = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        self._console.setblocking(False)  # noqa: FBT003
        self._stop_listening()
        self._loop.watch(self._console.fileno(), READ, lambda _: self._receive_terminal())

    def _receive_terminal(self) -> None:
        if self._console is None:
            return
        try:
            _, ancillary, _, _ = self._console.recvmsg(
                4096, _socket.CMSG_LEN(wire.FD_BYTES), _socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        self._close_console()
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                self._use_terminal(int.from_bytes(data[: wire.FD_BYTES], sys.byteorder))

    def _use_terminal(self, fd: int) -> None:
        self._streams = Streams(fd, {fd: wire.STDOUT}, terminal=True)
        if self._plan.console_size:
            set_size(fd, *self._plan.console_size)

    def _stop_listening(self) -> None:
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
            _unlink(self._path("console"))

    def _close_console(self) -> None:
        if self._console:
            self._loop.forget(self._console.fileno())
            self._console.close()
            self._console = None

    # After the runtime has ended

    def _runtime_ended(self, status: int, _: str) -> None:
        self._runtime_pid = 0
        if self._attention:
            self._attention.cancel()
        if self._plan.terminal and not self._streams:
            # It sent the terminal before it ended; we may just not have looked yet.
            self._accept()
            self._receive_terminal()
        self._stop_listening()
        self._close_console()
        pid, start_time = self._identity() if status == 0 else (0, None)
        if not pid or not self._streams:
            self._loop.expected()
            self._fail(self._hangs or self._runtime_failure(status), status)
            return
        self._adopt(pid, start_time or 0)

    def _identity(self) -> tuple[int, int | None]:
        text = fsatomic.read_optional(self._path("pid")) or b""
        pid = int(text) if text.strip().isdigit() else 0
        _, fields = stat_fields(pid)
        if fields and int(fields[1]) != os.getpid():
            return 0, None  # no child of ours: nothing could tell how it ends
        return pid, int(fields[19]) if fields else None

    def _adopt(self, pid: int, start_time: int) -> None:
        plan, streams = self._plan, self._streams
        if streams is None:
            raise AssertionError("a start without streams has failed before")
        session = Session(self._loop, streams, log=plan.log, close_on_eof=plan.close_on_eof)
        process = Process(pid, start_time, session, clock.now())
        self._loop.adopt(pid, process.ended)
        self._settle(process)

    def _settle(self, process: Process) -> None:
        """Wait until the process is the program: an image's broken program shows only here."""
        if process.exit:
            if process.exit[1] == UNSTARTED:
                self._fail_late(process)
                return
        elif process_name(process.pid) == UNSTARTED and self._attempts < SETTLE_ATTEMPTS:
            self._attempts += 1
            self._loop.later(SETTLE_INTERVAL_S, lambda: self._settle(process))
            return
        elif self._attempts == SETTLE_ATTEMPTS and self._is_lost(process):
            process.on_exit(lambda *_: self._fail_late(process))
            return
        self._clean_up()
        self._done(process, None)

    def _is_lost(self, process: Process) -> bool:
        """Whether it will never be the program; then it is killed."""
        name, fields = stat_fields(process.pid)
        if not fields or fields[0] != b"Z":
            return False
        from runengine.monitor import hanging

        if not hanging.is_beheaded(name, fields):
            return False
        self._hangs = hanging.beheaded()
        os.kill(process.pid, signal.SIGKILL)
        return True

    def _fail_late(self, process: Process) -> None:
        from runengine.runtime import messages

        text = process.session.last_words().decode(errors="replace")
        self._fail(self._hangs or messages.late(text), 0)

    def _runtime_failure(self, status: int) -> Failure:
        from runengine.runtime import messages

        entries = []
        for line in (fsatomic.read_optional(self._path("log")) or b"").splitlines():
            try:
                entries.append(wire.loads(line))
            except wire.ProtocolError:
                continue
        code = os.waitstatus_to_exitcode(status)
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return messages.from_log(entries, "the runtime", ended, self._said())

    def _said(self) -> str:
        """The first line on the standard error of a runtime that failed, if it wrote any there."""
        streams = self._streams
        if streams is None or streams.terminal:
            return ""
        for fd, stream in streams.outputs.items():
            if stream == wire.STDERR:
                set_nonblocking(fd)
                try:
                    words = os.read(fd, SAID_BYTES).decode(errors="replace").split("\n")
                except BlockingIOError:
                    return ""
                return "".join(char for char in words[0] if char.isprintable())
        return ""

    def _fail(self, failure: Failure, status: int) -> None:
        if os.WIFSIGNALED(status):
            kill_half_born(self._loop, self._streams)
        self._abandon()
        self._done(None, failure)

    def _abandon(self) -> None:
        self._stop_listening()
        self._close_console()
        if self._streams:
            self._streams.close()
        self._clean_up()

    def _clean_up(self) -> None:
        for suffix in ("log", "pid", "json"):
            _unlink(self._path(suffix))
        # What a runtime that is killed leaves: it renames this to the pid file.
        _unlink(f"{self._plan.directory}/.{self._name('pid')}")


def _pipes(stdin: bool, output: str) -> tuple[Streams, list[int]]:  # noqa: FBT001
    """Our ends and the process's; its input is /dev/null unless ``stdin``.

    Where ``output`` names a file it has that, and we none.
    """
    inner, our_input = os.pipe2(os.O_CLOEXEC) if stdin else (0, None)
    if output:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            outer = os.open(output, flags, 0o600)
        except OSError:
            for fd in (inner, our_input):
                if fd:
                    os.close(fd)
            raise
        return Streams(our_input, {}, terminal=False), [inner, outer, outer]
    our_output, outer = os.pipe2(os.O_CLOEXEC)
    our_errors, errors = os.pipe2(os.O_CLOEXEC)
    outputs = {our_output: wire.STDOUT, our_errors: wire.STDERR}
    return Streams(our_input, outputs, terminal=False), [inner, outer, errors]


def kill_half_born(loop: Loop, streams: Streams | None) -> None:
    """Kill what a killed runtime left of a process: unborn, or with these streams already.

    The runtime writes the pid down after the program has begun, so that is no help.
    """
    path = f"/proc/self/task/{os.getpid()}/children"
    for pid in map(int, (fsatomic.read_optional(path) or b"").split()):
        # Our own children's pids cannot be reused before we have reaped them.
        if not loop.knows(pid) and (
            process_name(pid).startswith("runc:[") or (streams and _has(pid, streams))
        ):
            os.kill(pid, signal.SIGKILL)


def _has(pid: int, streams: Streams) -> bool:
    ours = {_file(os.fstat(fd)) for fd in streams.outputs}
    if streams.terminal:
        answer = fcntl.ioctl(next(iter(streams.outputs)), TIOCGPTN, bytes(4))
        minor = int.from_bytes(answer, sys.byteorder)
        ours = {("terminal", os.makedev(PTS_MAJOR + (minor >> 8), minor & 0xFF))}
    for number in ("1", "2"):
        try:
            if _file(os.stat(f"/proc/{pid}/fd/{number}")) in ours:
                return True
        except OSError:
            continue
    return False


def _file(status: os.stat_result) -> tuple[object, int]:
    if status.st_rdev:
        return "terminal", status.st_rdev
    return status.st_dev, status.st_ino


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
