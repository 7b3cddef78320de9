"""The launcher: accepts and forks, nothing else, so that a fork is always safe.

It has one thread and no open files but its sockets. What takes time or may fail happens in the
children. Asleep in one poll, it wakes for a connection, a child's end, a signal, and for changes
of the host's firewall only.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runengine import front
from runengine.errors import Conflict, Unavailable
from runengine.launcher import caller, watch, worker
from runengine.launcher.flushes import Flushes, Mender
from runengine.launcher.log import log
from runengine.launcher.pool import Pool
from runengine.launcher.side import Side
from runengine.launcher.zygote import Zygote
from runengine.linux import sd_notify
from runengine.linux.locks import try_lock
from runengine.monitor import zygote

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.paths import Paths

BACKLOG = 4096
LOCK_NAME = "service.lock"
_PYTHONS_OWN = frozenset((signal.SIGPIPE, signal.SIGXFSZ))
"""Ignored by the interpreter itself, so that they are errors of the call instead."""
ACCEPTS_AT_ONCE = 64
"""Connections taken in one turn: ends of children must not wait for a crowd to be served."""


class Rehearsal(Protocol):
    """Does what calls do, for nobody."""

    def prepare(self) -> None:
        """Set up, and play until nothing more is gained by it."""

    def play(self, goes_on: Callable[[], bool]) -> None:
        """Play once, as far as ``goes_on`` says."""


class Setup(NamedTuple):
    """What the launcher is to do; the command line's code comes from above."""

    paths: Paths
    run: Callable[[list[str]], int]
    """Runs a command line; its exit code."""
    afterwards: Callable[[], None]
    """Closes what it has opened; its caller does not wait for that."""
    restore: list[str]
    """Command line that brings the containers back, run at the start."""
    reconcile: list[str]
    """Command line that puts right what a monitor's or a worker's violent death left."""
    mend: list[str]
    """Command line that writes the firewall's table anew if somebody has flushed it."""
    hold: Callable[[], object]
    """Opens what is to stay open as long as a worker lives."""
    rehearsal: Rehearsal
    """What children find done before they are forked, and a spare does for itself."""
    side: Callable[[], int] | None = None
    """A server of its own beside the launcher (metrics); runs in a child."""


def hold(directory: str) -> int:
    """Take the lock that makes this the only service of ``directory``; its descriptor.

    Raises Conflict naming the holder, Unavailable.
    """
    path = f"{directory}/{LOCK_NAME}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fd = try_lock(path)
    except (FileExistsError, NotADirectoryError):
        raise Unavailable(
            f"cannot use {directory}: there is a file in its place, or above it",
            resolution="choose another --root or --state",
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot lock {path}: {error.strerror}") from None
    if fd is None:
        with open(path, encoding="ascii", errors="replace") as file:
            holder = file.read().strip()
        raise Conflict(
            f"a service for {directory} is running already: pid {holder or 'unknown'}",
            resolution="stop that one first, or use another --root and --state",
        )
    with suppress(OSError):  # a full disk: then the holder is unknown
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def listen(path: str) -> socket.socket:
    """The socket that the service manager made for us, or our own, for root alone.

    Raises Unavailable.
    """
    for fd in sd_notify.listen_fds():
        inherited = socket.socket(fileno=fd)
        if inherited.family == socket.AF_UNIX and inherited.type == socket.SOCK_STREAM:
            inherited.settimeout(0)
            inherited.set_inheritable(False)
            return inherited
        inherited.detach()
    try:
        return _bind(path)
    except OSError as error:
        raise Unavailable(f"cannot listen on {path}: {error.strerror}") from None


def _bind(path: str) -> socket.socket:
    directory, name = os.path.split(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    at = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    mask = os.umask(0o177)
    try:
        # A socket's address holds 108 bytes; a directory's name may be longer.
        listener.bind(f"/proc/self/fd/{at}/{name}")
    finally:
        os.umask(mask)
        os.close(at)
    listener.listen(BACKLOG)
    listener.settimeout(0)
    return listener


class Launcher:
    """One per root directory, for as long as the service runs."""

    def __init__(self, setup: Setup, lock_fds: list[int], listener: socket.socket) -> None:
        self._setup = setup
        self._lock_fds = lock_fds
        self._listener = listener
        self._path = f"{setup.paths.state}/{front.SOCKET_NAME}"
        self._zygote: Zygote | None = None
        self._asked, self._asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked.settimeout(0)
        # Where we are stuck, children wait for us no longer than callers do.
        patience = front.timeval(front.ANSWER_TIMEOUT_S)
        self._asking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._reconciler = 0
        self._reconcile_again = False
        self._side = Side(setup.side, self._fork)
        self._stopping = False
        self._poll = select.poll()
        self._pool = Pool(self._poll, self._fork_worker)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watch = watch.Watch()
        flushes = Flushes.of(setup.paths.firewall_table)
        self._mender = Mender(flushes, lambda: self._fork_command(setup.mend))
        self._here = worker.Here(
            caller.world_of("self", caller.Status("self")),
            front.identity(),
            self._asking,
            setup.run,
            setup.afterwards,
            setup.hold,
            setup.rehearsal.play,
        )

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT; containers and calls under way go on."""
        self._catch_signals()
        self._poll.register(self._wake_read, select.POLLIN)
        self._poll.register(self._listener, select.POLLIN)
        if self._mender.fileno() >= 0:
            self._poll.register(self._mender, select.POLLIN)
        self._begin_zygote()
        self._look_around()
        self._setup.rehearsal.prepare()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._reconciler = self._fork_command(self._setup.restore)
        self._side.begin()
        self._pool.prepare()
        sd_notify.notify("READY=1")
        try:
            while not self._stopping:
                self._turn()
        finally:
            sd_notify.notify("STOPPING=1")
            self._leave()

    def _leave(self) -> None:
        """Go; a socket that is the service manager's stays."""
        self._pool.end()
        if self._zygote is not None:
            self._zygote.let_go()
        own = not sd_notify.listen_fds()
        self._listener.close()
        if own:
            with suppress(OSError):
                os.unlink(self._path)
        self._side.end()

    def _catch_signals(self) -> None:
        # What our own caller ignored or blocked must not be deaf in every worker.
        for number in signal.valid_signals():
            if number not in _PYTHONS_OWN and signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _noted)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _turn(self) -> None:
        for fd, _ in self._poll.poll(self._pool.timeout_ms()):
            if fd == self._listener.fileno():
                self._accept()
            elif fd == self._asked.fileno():
                self._fork_monitor()
            elif fd == self._wake_read:
                self._on_signals(os.read(self._wake_read, 4096))
            elif self._zygote is not None and fd == self._zygote.fileno():
                self._hear_zygote()
            elif fd == self._mender.fileno():
                self._mender.hear()
            elif not self._pool.hear(fd) and self._watch.forget(fd):
                self._poll.unregister(fd)
                self._put_right()
        self._pool.on_time()

    def _on_signals(self, numbers: bytes) -> None:
        self._stopping = signal.SIGTERM in numbers or signal.SIGINT in numbers
        self._reap()

    # Calls

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    # Until a child has ended there is no room; polling on would spin.
                    self._poll.unregister(self._listener)
                return
            if worker.peer_of(sock)[1] != 0:
                sock.close()
                continue
            with suppress(OSError):
                sock.send(front.TAKEN, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            self._pool.serve(sock)

    def _fork_worker(self, channel: socket.socket, call: socket.socket | None) -> int:
        kept = [channel.fileno(), *([] if call is None else [call.fileno()])]
        return self._fork(lambda: worker.serve(channel, call, self._here), *kept)

    def _fork(self, work: Callable[[], int], *kept: int) -> int:
        """Run ``work`` in a child and return its pid. Raises OSError."""
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            self._shed(kept)
            status = work()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - a child must never return to our loop
            log(f"worker: {type(error).__name__}: {error}")
        finally:
            os._exit(status)

    def _shed(self, kept: tuple[int, ...]) -> None:
        """In a child: let go of everything that is the launcher's own."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # These objects live on: their numbers will be other files'.
        for sock in (self._listener, self._asked):
            sock.detach()
        self._mender.forget()
        self._pool.forget()
        if self._zygote is not None:
            self._zygote.forget()
        # Also what whoever started the service left open: a lock, say, or the end of a pipe.
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and fd != self._asking.fileno() and fd not in kept:
                with suppress(OSError):  # the listing's own
                    os.close(fd)

    # Monitors

    def _begin_zygote(self) -> None:
        """Have a zygote, which takes the requests; without one they are ours."""
        try:
            self._zygote = Zygote(self._asked, f"{self._setup.paths.state}/zygote")
        except OSError as error:
            log(f"cannot start the process that monitors are forked from: {error.strerror}")
            self._poll.register(self._asked, select.POLLIN)
            return
        self._poll.register(self._zygote, select.POLLIN)
        with suppress(KeyError):
            self._poll.unregister(self._asked)

    def _hear_zygote(self) -> None:
        if self._zygote is not None and self._zygote.heard_violence():
            self._put_right()

    def _zygote_ended(self, ended: Zygote) -> None:
        """Its monitors go on, as orphans; have another one, unless this one could not begin."""
        self._poll.unregister(ended)
        ended.let_go()
        self._zygote = None
        if ended.was_ready:
            self._begin_zygote()
        else:
            log("the process that monitors are forked from does not start")
            self._poll.register(self._asked, select.POLLIN)
        self._look_around()

    def _fork_monitor(self) -> None:
        """There is no zygote: fork a monitor ourselves, and try to have one for the next."""
        request = zygote.receive(self._asked)
        if request is None:
            return

        def work() -> int:
            zygote.begin(*request)
            return 0

        with suppress(OSError):  # whoever asks sees the end of file, and starts one itself
            self._fork(work, *request)
        for fd in request:
            os.close(fd)
        self._begin_zygote()

    def _fork_command(self, args: list[str]) -> int:
        """Run a command of ours without a caller; its output is the service's log."""

        def work() -> int:
            from runengine.monitor import launch

            sd_notify.forget()
            launch.use(lambda fd: worker.ask_for_monitor(self._asking, fd))
            gc.enable()
            try:
                return self._setup.run(args)
            finally:
                self._setup.afterwards()

        try:
            return self._fork(work)
        except OSError as error:
            log(f"cannot run {' '.join(args)}: {error.strerror}")
            return 0

    # Ends of children

    def _reap(self) -> None:
        violent = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            violent |= os.WIFSIGNALED(status) and not self._side.has(pid)
            self._ended(pid, status)
        with suppress(OSError):
            # There is room again, if there was none.
            self._poll.register(self._listener, select.POLLIN)
        if violent:
            self._put_right()

    def _ended(self, pid: int, status: int) -> None:
        if self._pool.ended(pid, status) or self._mender.ended(pid):
            return
        if pid == self._reconciler:
            self._reconciler = 0
            if self._reconcile_again:
                self._reconcile_again = False
                self._put_right()
        elif self._zygote is not None and pid == self._zygote.pid:
            self._zygote_ended(self._zygote)
        elif self._side.has(pid) and not self._stopping:
            self._side.ended(status)

    def _look_around(self) -> None:
        """Watch what a container's end will be seen by, where that is no child of ours."""
        parents = {os.getpid(), 0 if self._zygote is None else self._zygote.pid}
        for fd in self._watch.look(f"{self._setup.paths.state}/containers", parents):
            self._poll.register(fd, select.POLLIN)

    def _put_right(self) -> None:
        """Look after all containers, once at a time: something died that could not say how."""
        # First: what ends after this is seen by us, what ended before by the command.
        self._look_around()
        if self._reconciler:
            self._reconcile_again = True
        else:
            self._reconciler = self._fork_command(self._setup.reconcile)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has it."""


def serve(setup: Setup) -> None:
    """Be the service of ``setup.paths`` until told to end.

    Raises Conflict if there is one already, Unavailable if the socket cannot be made.
    """
    # Both: the containers are the root's, the socket and what runs are the state directory's.
    directories = {os.path.realpath(path) for path in (setup.paths.root, setup.paths.state)}
    lock_fds = [hold(directory) for directory in sorted(directories)]
    listener = listen(f"{setup.paths.state}/{front.SOCKET_NAME}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Launcher(setup, lock_fds, listener).serve()
