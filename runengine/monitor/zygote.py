"""The process that monitors are forked from: it has their code in memory, and little else.

A child has to itself every page that it writes to, and in Python to look at an object is to write
to its page. In a process that has imported the whole program these pages are many; here all that
a monitor touches lies together.

It belongs to the service and takes requests from workers by itself: one message each on a socket
that it shares with the launcher. It ends with the launcher; the monitors go on.
"""

from __future__ import annotations

import _socket
import gc
import os
import select
import sys

import prctl

from runengine.linux import inheritance
from runengine.monitor import rehearsal
from runengine.monitor.loop import Loop
from runengine.monitor.main import Monitor, become, close_all_but, settle, take_place
from runengine.monitor.title import Title
from runengine.monitor.wire import CONTROL_FD, FD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

NAME = "runengine-mons"
"""As ps shows it."""
REQUEST = b"M"
"""Comes with two descriptors: the monitor's control socket, and where to tell that it lives."""
BORN = b"K"
READY = b"R"
"""Told to the launcher once requests are taken."""
VIOLENCE = b"V"
"""Told to the launcher when a monitor was killed: it could not say how its container ended."""
DESCRIPTORS = 2
HIGHEST_FD = 64
"""Far above any descriptor that this process has."""
FAILED = 70


def receive(asked: _socket.socket) -> tuple[int, int] | None:
    """The next request's control socket and answering socket; None if there is none."""
    room = _socket.CMSG_SPACE(DESCRIPTORS * FD_BYTES)
    try:
        word, ancillary, flags, _ = asked.recvmsg(1, room, _socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    fds = [
        int.from_bytes(data[at : at + FD_BYTES], sys.byteorder)
        for level, kind, data in ancillary
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for at in range(0, len(data), FD_BYTES)
    ]
    if word == REQUEST and len(fds) == DESCRIPTORS and not flags & _socket.MSG_CTRUNC:
        return fds[0], fds[1]
    for fd in fds:
        os.close(fd)
    return None


def begin(control_fd: int, answer_fd: int) -> None:
    """In a child of the launcher: be the monitor of whoever asked, until the container has ended.

    Raises OSError, ValueError if the asking process is gone, or has what we cannot have: it starts
    a monitor by itself then.
    """
    _follow_asker(answer_fd)
    gc.enable()
    become(control_fd)


def _follow_asker(answer_fd: int) -> None:
    """Take over what the asking process would hand on, and tell it so."""
    answer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, answer_fd)
    pid = _peer_pid(answer)
    inheritance.adopt(pid, inheritance.read_status(pid))
    answer.send(BORN, _socket.MSG_NOSIGNAL)
    answer.close()


def _peer_pid(sock: _socket.socket) -> int:
    """Who made the other end (unix(7), SO_PEERCRED: pid, uid, gid)."""
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 3 * FD_BYTES)
    return int.from_bytes(credentials[:FD_BYTES], sys.byteorder)


class Zygote:
    """Asleep in one poll; wakes for a request, a child's end, and the launcher's."""

    def __init__(self, asked_fd: int, channel_fd: int) -> None:
        self._asked = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, asked_fd)
        self._channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel_fd)
        self._wake_fd, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        self._poll = select.poll()
        for fd in (asked_fd, channel_fd, self._wake_fd):
            self._poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Return when the launcher has ended."""
        self._tell(READY)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._channel.fileno():
                    return
                if fd == self._wake_fd:
                    self._reap()
                else:
                    self._fork()

    def _tell(self, word: bytes) -> None:
        try:
            self._channel.send(word, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            return  # it has ended, and so shall we

    def _reap(self) -> None:
        os.read(self._wake_fd, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if os.WIFSIGNALED(status):
                self._tell(VIOLENCE)

    def _fork(self) -> None:
        request = receive(self._asked)
        if request is None:
            return
        try:
            if os.fork() == 0:
                _be_child(*request)
        except OSError:
            pass  # whoever asked sees the end of file
        for fd in request:
            os.close(fd)


def _be_child(control_fd: int, answer_fd: int) -> None:
    """Be a monitor; there is little to get rid of here, and most of that is done."""
    status = FAILED
    try:
        os.setsid()
        _follow_asker(answer_fd)
        os.dup2(control_fd, CONTROL_FD, inheritable=False)
        os.closerange(CONTROL_FD + 1, HIGHEST_FD)
        gc.enable()
        take_place()
        Monitor(CONTROL_FD).serve()
        status = 0
    finally:
        os._exit(status)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has it."""


def preload(title: Title) -> None:
    """Import what a monitor imports only when it needs it: here it costs the children nothing."""
    import runengine.monitor.health
    import runengine.monitor.logs
    import runengine.monitor.pending
    import runengine.runtime.messages  # noqa: F401
    from runengine.linux import libc

    Loop.give_back = libc.malloc_trim
    Monitor.entitle = title.show


def main(asked_fd: int, channel_fd: int, directory: str) -> None:
    """Be the zygote, on two descriptors that the launcher left open for it.

    ``directory`` is for the rehearsal alone: made, and removed.
    """
    # Also if it hangs; what is forked from here has no such thing (prctl(2), PR_SET_PDEATHSIG).
    prctl.set_pdeathsig(signal.SIGKILL)
    title = Title()
    preload(title)
    close_all_but(asked_fd, channel_fd)
    settle()
    prctl.set_name(NAME)
    prctl.set_child_subreaper(1)
    try:
        rehearsal.play(directory)
    except OSError as error:
        # A full disk, say: children are a little larger then.
        os.write(2, f"runengine: {NAME}: no rehearsal: {error}\n".encode())
    prctl.set_child_subreaper(0)
    title.show(f"{NAME} {os.path.dirname(directory)}")
    close_all_but(asked_fd, channel_fd)
    zygote = Zygote(asked_fd, channel_fd)
    gc.collect()
    gc.freeze()
    gc.disable()
    os.dup2(0, 2)
    zygote.serve()
