"""Network namespaces: made, entered and left (network_namespaces(7), setns(2)).

A namespace is never pinned by a mount: its descriptor holds it, then its processes, and with the
last of them the kernel takes it and its interfaces away. What has to be done inside one is done by
a thread that ends there, so that no thread of the caller can be left behind in it, whatever fails.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import socket
import struct
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from runengine.errors import EngineError, NotFound, Unavailable, Unsupported
from runengine.linux import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_OF_THIS_THREAD = "/proc/thread-self/ns/net"
"""Not /proc/self: that is where the process's first thread is."""
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def new() -> int:
    """A descriptor (close-on-exec) of a fresh namespace, whose loopback interface is up."""
    made: list[int] = []
    try:
        _in_thread(lambda: made.append(_unshare()))
    except OSError as error:
        raise _refused(error) from error
    except BaseException:
        for fd in made:
            os.close(fd)
        raise
    return made[0]


def ready(fd: int) -> int:
    """A duplicate of ``fd``, a fresh namespace made elsewhere, its loopback interface now up."""
    call(fd, _set_loopback_up)
    return os.dup(fd)


def _unshare() -> int:
    libc.unshare(_CLONE_NEWNET)
    _set_loopback_up()
    return os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)


def _set_loopback_up() -> None:
    """By ioctl (netdevice(7)): one call, and its addresses come with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _refused(error: OSError) -> EngineError:
    brief = "cannot make a network namespace"
    if error.errno == errno.ENOSPC:
        return Unavailable(
            brief,
            details="this host allows no more of them",
            resolution="raise the sysctl user.max_net_namespaces",
        )
    if error.errno in (errno.EPERM, errno.EINVAL):
        return Unsupported(
            brief,
            details=str(error),
            resolution="it takes root with CAP_SYS_ADMIN and a kernel with CONFIG_NET_NS",
        )
    return EngineError(brief, details=str(error))


def of_process(pid: int) -> int:
    """A descriptor (close-on-exec) of the namespace that a process is in.

    The caller makes sure that the process is the one it means (linux/pidfd.py). Raises NotFound.
    """
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"no network namespace of process {pid}: it has ended") from None


def call(netns_fd: int, function: Callable[[], Result]) -> Result:
    """What ``function`` returns or raises in the namespace; it runs in a thread of its own."""
    result: list[Result] = []

    def inside() -> None:
        libc.setns(netns_fd, _CLONE_NEWNET)
        result.append(function())

    _in_thread(inside)
    return result[0]


def _in_thread(work: Callable[[], None]) -> None:
    """Do the work in a thread, and return or raise when it has ended.

    An exception of a signal's handler waits for its end, too, or prevents its beginning.
    """
    job = _Job(work)
    try:
        _thread.start_new_thread(job.run, ())
        job.wait()
    except BaseException:
        job.give_up()
        raise
    if job.failure is not None:
        raise job.failure


class _Job:
    """Work for one thread; threading.Thread is left in pieces by an interrupted start."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._permission = _thread.allocate_lock()
        """Whoever takes it first decides whether the work is done."""
        self._running = _thread.allocate_lock()
        self._running.acquire()
        self._ended = False
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Work, unless it was given up before."""
        if not self._permission.acquire(blocking=False):
            return
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            self.failure = error
        finally:
            self._ended = True
            self._running.release()

    def wait(self) -> None:
        """Wait until the work has ended.

        Who was interrupted while it waited may have taken the lock all the same, hence the flag.
        """
        if not self._ended:
            self._running.acquire()

    def give_up(self) -> None:
        """Keep the work from beginning; if it has begun, wait for its end."""
        if not self._permission.acquire(blocking=False):
            self.wait()


@contextmanager
def entered(netns_fd: int) -> Iterator[None]:
    """Be in the namespace with the calling thread, and back where it was afterwards.

    Sockets that are made inside stay in the namespace. If the way back is barred (the block gave
    its capabilities up), the process ends: nothing of it may act in a container's network.
    """
    own = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Inside the try: a signal's exception may come at any moment, and going back is harmless.
        libc.setns(netns_fd, _CLONE_NEWNET)
        yield
    finally:
        _return_to(own)


def _return_to(own: int) -> None:
    try:
        libc.setns(own, _CLONE_NEWNET)
    except OSError as error:
        sys.stderr.write(f"runengine: cannot leave a network namespace: {error}; giving up\n")
        sys.stderr.flush()
        os.abort()
    os.close(own)
