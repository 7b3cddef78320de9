"""The engine's and the CLI's side: start a monitor, talk to one.

A Connection is used blocking (``read_frame``, ``wait``) or from a poll loop: poll ``fileno()`` for
input, and for output while ``wants_write``; then call ``read_frames()`` or ``flush()``.
"""

from __future__ import annotations

import _socket
import os
import select
import struct
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runengine import errors
from runengine.linux import pidfd
from runengine.linux.locks import locked
from runengine.monitor import wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Self

    from runengine.monitor.protocol import AttachOptions, ExecRequest, ExitRecord, Job

RECEIVE_SIZE = 256 << 10
LOCK_PATIENCE_S = 1.0
SPAWN_ANSWER_TIMEOUT_S = 120.0
"""The runtime may have to wait for hooks and slow disks; far beyond that it hangs."""
ATTENTION_S = 1.0
"""How often one who waits for an answer looks whether the monitor could give one."""
ACCEPT_TIMEOUT_S = 10.0
"""How long a monitor may take to have room for one more client."""
_NAME = "runengine-mon"
"""As ps shows a monitor."""
PEER_BYTES = struct.calcsize("3i")
"""Of a socket's peer: pid, uid, gid (unix(7), SO_PEERCRED)."""


class Frame(NamedTuple):
    """One frame from the monitor; ``event`` is set on control frames, ``data`` on the others."""

    stream: int
    data: bytes
    event: dict[str, Any] | None = None


class Started(NamedTuple):
    """A container that runs."""

    pid: int
    start_time: int
    """Clock ticks since boot (proc_pid_stat(5), field 22)."""
    connection: Connection | None


class Connection:
    """A conversation with a monitor. Context manager; closing it never ends the container."""

    def __init__(self, sock: _socket.socket, monitor_pid: int = 0) -> None:
        self._sock = sock
        self._monitor_pid = monitor_pid
        self._splitter = wire.Splitter()
        self._ready: list[Frame] = []
        self._unsent = b""
        self._ended = False
        self.exit: dict[str, Any] | None = None
        """Set once the exit frame was read: an ExitRecord, or exit_code and signal of an exec."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For poll."""
        return self._sock.fileno()

    def close(self) -> None:
        """End the conversation: for an attached stdin that is the end of input."""
        self._sock.close()

    # Requests

    def attach(self, options: AttachOptions) -> None:
        """Attach to the container's streams. Raises Conflict if it has ended."""
        self.request({"op": "attach", **attach_fields(options)}, "attached")

    def exec(self, request: ExecRequest) -> int:
        """Start a process inside; its pid. Unless detached the streams are now this connection's.

        Raises CommandNotFound, CommandNotExecutable, Conflict (ended), RuntimeFailed.
        """
        return int(self.request({"op": "exec", **request}, "started")["pid"])

    def resize(self, rows: int, columns: int, *, exec_id: str | None = None) -> None:
        """Set the size of the session's terminal; on an attached connection it never waits."""
        message = {"op": "resize", "rows": rows, "cols": columns, "exec_id": exec_id}
        self._send(wire.control(message))

    def resize_once(self, rows: int, columns: int, *, exec_id: str | None = None) -> None:
        """Resize on a fresh connection. Raises NotFound (session), Conflict (no terminal)."""
        message = {"op": "resize", "rows": rows, "cols": columns, "exec_id": exec_id}
        self.request(message, "ok")

    def status(self) -> dict[str, Any]:
        """What the monitor knows: ``pid``, ``start_time``, ``running``, ``execs``, ``exit``."""
        return self.request({"op": "status"}, "status")

    def update(self, **changes: Any) -> None:
        """Change the job: ``events``, ``on_exit`` or ``restart``. Raises InvalidParameter."""
        self.request({"op": "update", "changes": changes}, "ok")

    def wait(self, timeout_s: float | None = None) -> ExitRecord | None:
        """Wait for the end, dropping output; None after ``timeout_s`` or if the monitor vanished.

        On a fresh connection this asks for the container's exit, on one that is attached or runs
        an exec session it waits for that session's. Raises TimedOut if the monitor is stopped.
        """
        self._require_awake()
        if self.exit is None:
            self._send(wire.control({"op": "wait"}))
        deadline = _deadline(timeout_s)
        while self.exit is None:
            if not self._fill(deadline) or self._ended:
                break
            self._ready.clear()
        return cast("ExitRecord | None", self.exit)

    def take_over(self) -> bool:
        """Claim the teardown after ``exit``; False if the monitor has begun it itself."""
        try:
            self.request({"op": "take-over"}, "taken")
        except (errors.EngineError, OSError):
            return False
        return True

    def detach(self) -> None:
        """Leave the session and close; the standard input stays open for the next client."""
        self._send(wire.control({"op": "detach"}))
        self.close()

    def give_up(self) -> None:
        """Have the container's process killed, or its start called off; the monitor then ends."""
        self._send(wire.control({"op": "give-up"}))

    # Standard input

    def send_stdin(self, data: bytes) -> None:
        """Queue input and send what fits. Read no more input while ``wants_write``."""
        if data:
            self._send(wire.frame(wire.STDIN, data))

    def close_stdin(self) -> None:
        """Half-close: end of input, output goes on."""
        self._send(wire.frame(wire.STDIN, b""))

    @property
    def wants_write(self) -> bool:
        """Whether something waits to be sent (the container does not read its input)."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Send what fits now. A broken connection is noticed by the reader, not here."""
        try:
            sent = self._sock.send(self._unsent, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""
            return
        self._unsent = self._unsent[sent:]

    def _send_with(self, fd: int, data: bytes) -> int:
        """Send what fits now together with a descriptor; how much that was."""
        packed = fd.to_bytes(wire.FD_BYTES, sys.byteorder)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)
        with suppress(OSError):  # a broken connection is noticed by the reader
            # Not by socket.send_fds, which takes no notice of the flags.
            flags = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
            return self._sock.sendmsg([data], [rights], flags)
        return 0

    def _send(self, data: bytes) -> None:
        self._unsent += data
        self.flush()

    # Output

    def read_frames(self, timeout_s: float | None = 0) -> list[Frame] | None:
        """The frames that have arrived, ``[]`` if none did in time, None at the end."""
        if not self._ready and not self._ended:
            self._fill(_deadline(timeout_s))
        frames, self._ready = self._ready, []
        return frames if frames or not self._ended else None

    def read_frame(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame; None at the end. Raises TimedOut."""
        deadline = _deadline(timeout_s)
        while not self._ready:
            if self._ended:
                return None
            if not self._fill(deadline):
                raise errors.TimedOut("the container's monitor does not answer")
        return self._ready.pop(0)

    def request(
        self, message: dict[str, Any], answer: str, *, lock_fd: int | None = None
    ) -> dict[str, Any]:
        """Send a request and return its answer; output that comes first is kept for the reader.

        With ``lock_fd`` the monitor has that lock as well, from the moment it is sent.
        Raises what the monitor's error event says, Unavailable if the monitor went away, TimedOut
        if it does not answer.
        """
        data = wire.control(message)
        self._send(data if lock_fd is None else data[self._send_with(lock_fd, data) :])
        kept: list[Frame] = []
        while True:
            frame = self._await_frame(SPAWN_ANSWER_TIMEOUT_S)
            if frame is None:
                raise errors.Unavailable(
                    "the container's monitor went away", resolution="look at the container again"
                )
            if frame.event and frame.event["event"] in (answer, "error"):
                self._ready = kept + self._ready
                if frame.event["event"] == "error":
                    raise error_of(frame.event)
                return frame.event
            kept.append(frame)

    def _await_frame(self, timeout_s: float) -> Frame | None:
        """As ``read_frame``; sooner, if the monitor is stopped."""
        last = time.monotonic() + timeout_s
        while True:
            try:
                return self.read_frame(min(ATTENTION_S, timeout_s))
            except errors.TimedOut:
                self._require_awake()
                if time.monotonic() >= last:
                    raise

    def _require_awake(self) -> None:
        if self._monitor_pid and pidfd.is_stopped(self._monitor_pid):
            raise stopped(self._monitor_pid)

    def _fill(self, deadline: float | None) -> bool:
        """Receive once; False if nothing came before the deadline."""
        if not self._poll(deadline):
            return False
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except ConnectionError:
            data = b""
        self._ended = not data
        for stream, payload in self._splitter.feed(data):
            self._ready.append(self._frame(stream, payload))
        return True

    def _poll(self, deadline: float | None) -> bool:
        poll = select.poll()
        while True:
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = poll.poll(left)
            if not ready:
                return False
            if self._unsent and ready[0][1] & select.POLLOUT:
                self.flush()
            if ready[0][1] & ~select.POLLOUT:
                return True

    def _frame(self, stream: int, payload: bytes) -> Frame:
        if stream != wire.CONTROL:
            return Frame(stream, payload)
        event = wire.loads(payload)
        if event["event"] == "exit":
            self.exit = event.get("exit", event)
        return Frame(stream, b"", event)


class Monitor:
    """A monitor process that waits for its job; spawned early, it boots while the engine works."""

    _children: list[int] = []  # noqa: RUF012

    def __init__(self, pid: int, sock: _socket.socket) -> None:
        self.pid = pid
        """0 if the launcher forks it."""
        self.connection = Connection(sock, pid)
        self._birth: socket.socket | None = None

    @classmethod
    def spawn(cls) -> Monitor:
        """Start the process; it dies quietly if ``run`` never comes. Raises OSError."""
        from runengine.monitor import launch

        ours, theirs = _socket.socketpair()
        with closing(theirs):
            birth = launch.fork(theirs.fileno())
            if birth is None:
                return cls(cls._spawn(theirs), ours)
        monitor = cls(0, ours)
        monitor._birth = birth
        return monitor

    @classmethod
    def _spawn(cls, theirs: _socket.socket) -> int:
        from runengine.monitor import launch

        cls._reap()
        pid = launch.spawn(theirs.fileno())
        cls._children.append(pid)
        return pid

    def _await_birth(self) -> None:
        """Start one ourselves if the launcher died first, or is stuck. Raises OSError."""
        birth, self._birth = self._birth, None
        if birth is None:
            return
        with birth:
            try:
                born = birth.recv(1)
            except (ConnectionError, TimeoutError):
                born = b""
        if not born:
            self.connection.close()
            ours, theirs = _socket.socketpair()
            with closing(theirs):
                self.pid = self._spawn(theirs)
            self.connection = Connection(ours, self.pid)

    @classmethod
    def _reap(cls) -> None:
        # A monitor outlives the command that spawned it; in a long-lived library user its zombie
        # is collected by the next spawn.
        for pid in tuple(cls._children):
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            except ChildProcessError:
                pass
            cls._children.remove(pid)

    def run(self, job: Job, attach: AttachOptions | None = None) -> Started:
        """Start the container. With ``attach`` the control connection carries its streams.

        If this process dies from now on the container goes on (if it had started), and the
        monitor runs ``on_exit`` when it ends. Raises CommandNotFound, CommandNotExecutable,
        RuntimeFailed, Conflict, Unavailable; nothing of the container is then left, the mount is
        the caller's to undo.
        """
        self._await_birth()
        fields = attach_fields(attach) if attach else None
        message = {"op": "run", "job": job, "attach": fields}
        with _lock_of(job) as fd:
            event = self.connection.request(message, "started", lock_fd=fd)
        return Started(event["pid"], event["start_time"], self.connection if attach else None)

    def pend(self, state_dir: str, command: list[str], delay_s: float) -> None:
        """Instead of ``run``: have the process wait and then run ``command``; it lives on alone.

        Raises Unavailable, OSError.
        """
        self._await_birth()
        message = {"op": "pend", "state_dir": state_dir, "command": command, "delay_s": delay_s}
        self.connection.request(message, "pending")
        self.close()

    def abandon(self) -> None:
        """Let go of the monitor of a start that failed: what it has begun ends, and so does it."""
        self.connection.give_up()
        self.close()

    def take_over(self) -> bool:
        """Claim the teardown after the exit frame; False if the monitor has begun it itself."""
        return self.connection.take_over()

    def close(self) -> None:
        """Let go of the monitor: it goes on alone, or ends if it has no job."""
        self.connection.close()
        if self._birth is not None:
            self._birth.close()


@contextmanager
def _lock_of(job: Job) -> Iterator[int]:
    """The lock that the container's monitor holds. Raises Conflict if there is a monitor."""
    # For a moment, whoever looks whether a monitor holds it has it as well.
    path = f"{job['state_dir']}/{wire.LOCK_NAME}"
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(locked(path, timeout_s=LOCK_PATIENCE_S))
        except TimeoutError:
            brief = f"container {job['id'][:12]} has a monitor already"
            raise errors.Conflict(brief) from None
        yield fd


def attach_fields(options: AttachOptions) -> dict[str, bool]:
    """The part of an attach request that says which streams."""
    return {"stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr}


def error_of(event: dict[str, Any]) -> errors.EngineError:
    """The exception that an error event stands for."""
    kind = getattr(errors, str(event.get("kind")), errors.RuntimeFailed)
    details, resolution = event.get("details") or None, event.get("resolution") or None
    error = kind(str(event["brief"]), details=details, resolution=resolution)
    return cast("errors.EngineError", error)


def connect(state_dir: str) -> Connection | None:
    """Talk to the monitor of the container with this state directory; None if there is none.

    Raises TimedOut if it lets nobody in any more.
    """
    try:
        directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    seconds, rest = divmod(ACCEPT_TIMEOUT_S, 1)
    limit = struct.pack("ll", int(seconds), int(rest * 1e6))
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
    try:
        # A socket's address holds 108 bytes, a state directory's name may be longer.
        sock.connect(f"/proc/self/fd/{directory}/{wire.SOCKET_NAME}")
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BlockingIOError:
        sock.close()
        raise errors.TimedOut(
            "the container's monitor takes no more clients",
            resolution=f"see whether it is stopped: ps -C {_NAME} -o pid,stat,args",
        ) from None
    finally:
        os.close(directory)
    peer = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, PEER_BYTES)
    return Connection(sock, struct.unpack("3i", peer)[0])


def stopped(pid: int) -> errors.TimedOut:
    """The error for a monitor that somebody has stopped."""
    return errors.TimedOut(
        f"the container's monitor (pid {pid}) is stopped and does not answer",
        resolution=f"let it go on: kill -CONT {pid}, or end what traces it",
    )


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
