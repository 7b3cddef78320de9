"""The ``runengine`` command: hands the call to the launcher, or runs it in this process.

Nothing but built-in modules is imported before that is decided, since a warm call is over after
some 40 ms. The launcher forks a worker from a process that has everything loaded; the worker gets
our arguments, environment, working directory and standard streams, and runs the same code as a
cold call does. What is left for us is to pass signals on and to end as the worker ends.

A call, as bytes on ``<state>/launcher.sock``: ``CALL`` with its length and the working directory
goes out; the launcher says ``TAKEN``, its worker ``READY`` with its pid, or ``COLD`` (this call is
not for the launcher); ``GO`` goes out with the standard streams; ``EXITED`` or ``SIGNALLED`` with
a number comes back. Until ``GO`` the worker has done nothing, so an answer that does not come in
time costs nothing but the time, and a launcher that is stuck holds no stream that somebody else
reads.
"""

from __future__ import annotations

import _socket
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
    from typing import Any, NoReturn
else:
    import _signal

SOCKET_NAME = "launcher.sock"
PROTOCOL = b"runengine 3"
CALL = b"C"
TAKEN, READY, COLD, GO = b"T", b"R", b"N", b"G"
EXITED, SIGNALLED = b"E", b"S"
ANSWER_TIMEOUT_S = 2
"""A launcher that has not taken the call by then is stuck, stopped or overrun."""
BUSY_TIMEOUT_S = 30
"""For the worker of one that has: the host is busy, and would be more so with cold calls."""
REQUIRED_TIMEOUT_S = 60
"""For either, in a call that must not be cold: it has nothing to gain from less."""
SWITCH = b"RUNENGINE_LAUNCHER"
"""``off`` makes every call a cold one, ``require`` makes a call fail where it would be cold."""
JOURNAL = b"JOURNAL_STREAM"
NUMBER_BYTES = 4
STANDARD = (0, 1, 2)
GENERAL_FAILURE = 125
_PATH = "/proc/self/fd/"
_SOCKET_PATH_BYTES = 107
"""Longest path in a socket's address (unix(7))."""
# What the kernel says about ourselves, and what stops us rather than the worker.
_OURS = frozenset(
    {
        _signal.SIGKILL,
        _signal.SIGSTOP,
        _signal.SIGCHLD,
        _signal.SIGPIPE,
        _signal.SIGURG,
        _signal.SIGTTIN,
        _signal.SIGTTOU,
        _signal.SIGSEGV,
        _signal.SIGBUS,
        _signal.SIGFPE,
        _signal.SIGILL,
        _signal.SIGABRT,
        _signal.SIGTRAP,
        _signal.SIGSYS,
        32,
        33,  # the C library's own
    }
)


def identity() -> bytes:
    """This installation: another one's launcher is not asked, one replaced on disk neither."""
    status = posix.stat(__file__)
    return b"%d:%d:%d" % (status.st_dev, status.st_ino, status.st_mtime_ns)


_WITH_VALUE = ("--state", "--root", "--cgroup-manager", "--config", "--log-level", "-l")
"""The program's own options that take one."""


def launcher_socket(args: list[str], environment: dict[bytes, bytes]) -> str | None:
    """Where the launcher for this command line listens; None if it is not for a launcher.

    The program's own options are followed up to the command; mistakes are left to the program.
    """
    state = environment.get(b"RUNENGINE_STATE", b"").decode(errors="surrogateescape")
    rest = list(args)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in _WITH_VALUE and not equals:
            value = rest.pop(0) if rest else ""
        if name == "--state":
            state = value
    # A descriptor by number, or "self", is another thing in another process.
    if rest[:1] == ["serve"] or any("/dev/fd/" in a or "/proc/self" in a for a in args):
        return None
    return f"{state or '/run/runengine'}/{SOCKET_NAME}"


def main() -> NoReturn:
    """Entry point of the ``runengine`` program."""
    environment = posix.environ
    path = launcher_socket(sys.argv[1:], environment)
    stays = environment.get(SWITCH) == b"off" or speaks_to_journal(environment)
    if path is not None and not stays and _at_the_terminal():
        # Until the worker has begun, ^C ends us as it ends any program.
        before = _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        if before is _signal.SIG_IGN:
            _signal.signal(_signal.SIGINT, before)
        call(path, sys.argv[1:], environment)
        _signal.signal(_signal.SIGINT, before)
        if environment.get(SWITCH) == b"require":
            _fail("RUNENGINE_LAUNCHER=require, and no launcher takes this call")
    from runengine.cli.main import main as run_cold

    run_cold()


def _at_the_terminal() -> bool:
    """Whether reading our input is ours to do: the kernel stops only us, not a worker."""
    if not posix.isatty(0):
        return True
    try:
        return posix.tcgetpgrp(0) == posix.getpgrp()
    except OSError:
        return False


def speaks_to_journal(environment: dict[bytes, bytes]) -> bool:
    """Whether the journal gets our output: it files a line under the unit of whoever writes it.

    The variable that names the stream goes on to those who write elsewhere (systemd.exec(5)).
    """
    stream = environment.get(JOURNAL)
    return stream is not None and stream in map(_inode, STANDARD[1:])


def _inode(fd: int) -> bytes:
    try:
        status = posix.fstat(fd)
    except OSError:
        return b"closed"
    return b"%d:%d" % (status.st_dev, status.st_ino)


def call(path: str, args: list[str], environment: dict[bytes, bytes]) -> None:
    """Run the command in a worker and exit with its code; returns if there is no launcher."""
    # Before anything is opened: the socket itself takes the place of a stream that is closed.
    streams = [fd for fd in STANDARD if _is_open(fd)]
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        required = environment.get(SWITCH) == b"require"
        _connect(sock, path, REQUIRED_TIMEOUT_S if required else ANSWER_TIMEOUT_S)
        _send(sock, streams, args, environment)
        agreed = _agree(sock, streams, REQUIRED_TIMEOUT_S if required else BUSY_TIMEOUT_S)
    except (OSError, OverflowError):  # the latter for a pid that is none
        agreed = False
    if not agreed:
        sock.close()
        return
    try:
        end = sock.recv(2, _socket.MSG_WAITALL)
    except OSError:
        end = b""
    _end(end)


def _agree(sock: _socket.socket, streams: list[int], patience_s: int) -> bool:
    """Let the worker begin, if there is one. Raises OSError, OverflowError.

    ``patience_s`` is for the worker, once the launcher has the call.
    """
    expected = len(TAKEN + READY) + NUMBER_BYTES
    answer = sock.recv(expected, _socket.MSG_WAITALL)
    if answer == TAKEN:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, timeval(patience_s))
        answer += sock.recv(expected - len(answer), _socket.MSG_WAITALL)
    if len(answer) < expected or not answer.startswith(TAKEN + READY):
        return False
    worker = _Worker(int.from_bytes(answer[-NUMBER_BYTES:], "big"))
    worker.catch_signals()
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, timeval(0))
        sock.sendmsg([GO], _rights(streams), _socket.MSG_NOSIGNAL)
    except OSError:
        worker.let_go()
        raise
    return True


def _connect(sock: _socket.socket, path: str, patience_s: int) -> None:
    """Connect to root's launcher. Raises OSError."""
    limit = timeval(patience_s)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, limit)
    if len(path.encode(errors="surrogateescape")) <= _SOCKET_PATH_BYTES:
        sock.connect(path)
    else:
        directory = posix.open(path.rpartition("/")[0], posix.O_PATH | posix.O_CLOEXEC)
        try:
            sock.connect(f"{_PATH}{directory}/{SOCKET_NAME}")
        finally:
            posix.close(directory)
    if not _is_roots(sock):
        raise PermissionError


def _is_roots(sock: _socket.socket) -> bool:
    """Whether root listens there: whoever answers gets our streams."""
    peer = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return not int.from_bytes(peer[4:8], sys.byteorder)


def timeval(seconds: int) -> bytes:
    """A time as socket options take it (struct timeval)."""
    return seconds.to_bytes(8, sys.byteorder) + bytes(8)


def _send(
    sock: _socket.socket, streams: list[int], args: list[str], environment: dict[bytes, bytes]
) -> None:
    """Send the call. Raises OSError."""
    here = posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    words = [arg.encode(errors="surrogateescape") for arg in args]
    fields = [
        PROTOCOL,
        identity(),
        b"".join(b"%d" % fd for fd in streams),
        b"%d" % len(words),
        *words,
        *(name + b"=" + value for name, value in environment.items()),
    ]
    body = b"\0".join(fields)
    data = CALL + len(body).to_bytes(NUMBER_BYTES, "big") + body
    try:
        sent = sock.sendmsg([data], _rights([here]), _socket.MSG_NOSIGNAL)
    finally:
        posix.close(here)
    if sent < len(data):
        sock.sendall(data[sent:], _socket.MSG_NOSIGNAL)


def _rights(fds: list[int]) -> list[tuple[int, int, bytes]]:
    """What passes descriptors on (unix(7), SCM_RIGHTS)."""
    passed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)] if fds else []


def _is_open(fd: int) -> bool:
    try:
        posix.fstat(fd)
    except OSError:
        return False
    return True


class _Worker:
    """The process that does the work, as far as signals go."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = posix.pidfd_open(pid)
        self._before: list[tuple[int, Any]] = []

    def catch_signals(self) -> None:
        """From now on what is sent to us goes to the worker; what is ignored stays so."""
        for number in range(1, _signal.NSIG):
            if number not in _OURS and _signal.getsignal(number) is not _signal.SIG_IGN:
                handler = self._on_stop if number == _signal.SIGTSTP else self._pass_on
                self._before.append((number, _signal.signal(number, handler)))

    def let_go(self) -> None:
        """Have our signals to ourselves again."""
        for number, handler in self._before:
            _signal.signal(number, handler)
        posix.close(self._pidfd)

    def _pass_on(self, number: int, _frame: FrameType | None = None) -> None:
        try:
            _signal.pidfd_send_signal(self._pidfd, number)
        except OSError:
            return  # it has ended, and the news is on its way

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        """^Z: stop together with the worker, unless it has its own use for it."""
        if self._catches(number):
            self._pass_on(number)
            return
        self._pass_on(_signal.SIGSTOP)
        _signal.signal(number, _signal.SIG_DFL)
        posix.kill(posix.getpid(), number)
        # Here we are stopped until SIGCONT, which goes on to the worker by itself.
        _signal.signal(number, self._on_stop)
        self._pass_on(_signal.SIGCONT)

    def _catches(self, number: int) -> bool:
        """Whether the worker has a handler (proc_pid_status(5), SigCgt)."""
        try:
            fd = posix.open(f"/proc/{self._pid}/status", posix.O_RDONLY | posix.O_CLOEXEC)
            text = posix.read(fd, 8192)
            posix.close(fd)
        except OSError:
            return False
        mask = int(text.partition(b"SigCgt:")[2].split(None, 1)[0], 16)
        return bool(mask >> (number - 1) & 1)


def _end(message: bytes) -> NoReturn:
    """End as the worker did."""
    kind, number = message[:1], message[-1:]
    if kind == EXITED and len(message) == 2:
        posix._exit(number[0])
    if kind == SIGNALLED and len(message) == 2:
        _die_of(number[0])
    _fail("the process that ran this command ended without a word; look at ps")


def _fail(text: str) -> NoReturn:
    try:
        posix.write(2, b"runengine: " + text.encode() + b"\n")
    finally:
        posix._exit(GENERAL_FAILURE)


def _die_of(number: int) -> NoReturn:
    """Die of a signal, so that a shell around us sees what happened."""
    if number not in (_signal.SIGKILL, _signal.SIGSTOP):
        _signal.signal(number, _signal.SIG_DFL)
    posix.kill(posix.getpid(), number)
    posix._exit(128 + number)


def describe(status: int) -> bytes:
    """The message that tells of a wait status."""
    code = status & 0x7F
    return SIGNALLED + bytes((code,)) if code else EXITED + bytes((status >> 8 & 0xFF,))


if __name__ == "__main__":
    main()
