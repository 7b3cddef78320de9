"""The monitor process: gets rid of what it inherited, then serves one container."""

from __future__ import annotations

import _socket
import os

import prctl

from runengine.monitor.container import Container, note
from runengine.monitor.loop import Loop
from runengine.monitor.peer import Control
from runengine.monitor.programs import Programs
from runengine.monitor.wire import CONTROL_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from runengine.monitor.peer import Peer
    from runengine.monitor.pending import Pending
else:
    import _signal as signal

NAME = "runengine-mon"
"""As ps shows it; the kernel keeps 15 bytes."""
_IGNORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class Monitor:
    """Waits for its job on the control socket, then hands everything to the Container."""

    entitle: Callable[[str], None] | None = None
    """Sets the command line that ps shows, where it would be the zygote's."""

    def __init__(self, control_fd: int) -> None:
        self._state_dir = ""
        self._container: Container | None = None
        self._pending: Pending | None = None
        self.loop = Loop(self._report)
        self._programs = Programs()
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, control_fd)
        self._control = Control(self.loop, sock, self)

    def serve(self) -> None:
        """Return when the container has ended and everybody has been told."""
        self.loop.run()

    def on_request(self, peer: Peer, request: dict[str, Any]) -> None:
        """The job comes first; after that requests are the container's."""
        if self._container:
            self._container.on_request(peer, request)
        elif request.get("op") == "pend":
            self._pend(peer, request)
        elif request.get("op") != "run":
            peer.error("InvalidParameter", f"no container yet to {request.get('op')}")
        else:
            self._run(peer, request)

    def _run(self, peer: Peer, request: dict[str, Any]) -> None:
        try:
            job = request["job"]
            self._state_dir = job["state_dir"]
            os.dup2(0, 2, inheritable=True)
            if Monitor.entitle:
                engine = self._state_dir.partition("/containers/")[0]
                Monitor.entitle(f"{NAME} {job['id'][:12]} {engine}")
            lock_fd = self._control.take_lock()
            container = Container(self.loop, self._programs, job, lock_fd, peer, request)
            container.start()
            self._container = container
        except (KeyError, TypeError, ValueError) as error:
            peer.error("InvalidParameter", f"malformed job: {error!r}")
            peer.end()

    def _pend(self, peer: Peer, request: dict[str, Any]) -> None:
        """Only wait for a restart: the container's last start failed, so it has no monitor."""
        from runengine.monitor.pending import Pending

        try:
            self._state_dir = request["state_dir"]
            self._pending = Pending(
                self.loop,
                self._programs,
                self._state_dir,
                request["command"],
                float(request["delay_s"]),
                done=self.loop.stop,
                report=self._report,
            )
        except (KeyError, TypeError, ValueError) as error:
            peer.error("InvalidParameter", f"malformed request: {error!r}")
            peer.end()
            return
        self._pending.begin()
        peer.event({"event": "pending"})

    def on_gone(self, peer: Peer) -> None:
        """Without a job there is nothing to live for."""
        if self._container:
            self._container.on_gone(peer)
        elif not self._pending:
            self.loop.stop()

    def _report(self, text: str) -> None:
        if self._state_dir:
            note(self._state_dir, text)


def close_all_but(*kept: int) -> None:
    """Keep these and the standard streams: a caller's lock or pipe must not be held for days."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in kept:
            try:
                os.close(fd)
            except OSError:
                continue  # the listing's own


def settle() -> None:
    """Become what no terminal, session or directory of the caller's can touch.

    An ignored SIGTERM keeps the exit code from being lost when a session or the host goes down:
    the containers get theirs too, and the monitor ends with its container.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")


def take_place() -> None:
    """Be seen as a monitor, and be the parent of every orphan below."""
    os.umask(0o022)
    prctl.set_child_subreaper(1)
    prctl.set_name(NAME)


def become(control_fd: int) -> None:
    """Serve as a child of the launcher: first get rid of what a new process would not have."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(control_fd, CONTROL_FD)
    for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}):
        signal.signal(number, signal.SIG_DFL)
    main(CONTROL_FD)


def main(control_fd: int) -> None:
    """Serve on ``control_fd``; everything above it was inherited by accident."""
    close_all_but(control_fd)
    os.set_inheritable(control_fd, False)  # noqa: FBT003
    settle()
    take_place()
    Monitor(control_fd).serve()
