"""User namespaces, made apart from any container (user_namespaces(7)).

Only a process with one thread can make one, so a child does. It stays until the namespace is let
go of: runtimes that look at the maps do so by its ``/proc/PID``, whatever else they can.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings

from runengine.linux import libc

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_LAST_FD = (1 << 31) - 1
_DONE = b"\0"


class Held:
    """A user namespace, and a network namespace that belongs to it, until ``close``."""

    def __init__(self, pid: int, talk: socket.socket) -> None:
        self._pid = pid
        self._talk = talk
        self.user_fd = self.network_fd = -1
        """Close-on-exec. The loopback interface of the network namespace is down."""

    @property
    def path(self) -> str:
        """The user namespace, for other processes."""
        return f"/proc/{self._pid}/ns/user"

    def set_maps(self, uid_map: str, gid_map: str) -> None:
        """Map ids, and let the child make what else is wanted."""
        _await(self._talk)
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            # In one go, as the kernel wants it.
            with open(f"/proc/{self._pid}/{name}", "wb", buffering=0) as file:
                file.write(text.encode())
        self._go_on()

    def check_maps(self, uid_map: str, gid_map: str) -> None:
        """Of a namespace that is joined: raise OSError if it is another than the one meant."""
        _await(self._talk)
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            with open(f"/proc/{self._pid}/{name}", encoding="ascii") as file:
                if sorted(map(str.split, file)) != sorted(map(str.split, text.splitlines())):
                    raise OSError(errno.ESRCH, f"{os.strerror(errno.ESRCH)}: {name}")
        self._go_on()

    def _go_on(self) -> None:
        self._talk.send(_DONE)
        _await(self._talk)
        self.user_fd, self.network_fd = self._open("user"), self._open("net")

    def _open(self, kind: str) -> int:
        return os.open(f"/proc/{self._pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it: it goes with whoever is in it. Once is enough."""
        self._talk.close()  # the child ends then, whatever it waits for
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0
        for fd in (self.user_fd, self.network_fd):
            if fd >= 0:
                os.close(fd)
        self.user_fd = self.network_fd = -1


def make(uid_map: str, gid_map: str, *, network: bool = False, join: str = "") -> Held:
    """A user namespace with these maps, of lines ``INSIDE OUTSIDE COUNT``. Raises OSError.

    ``network``: with a network namespace of its own, else that is the caller's. ``join``: the
    path of a user namespace that is there, which must have these maps.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        with warnings.catch_warnings():
            # Python 3.12 warns where there are threads: the child takes no lock of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _be_child(theirs, network=network, join=join)
    held = Held(pid, ours)
    try:
        (held.check_maps if join else held.set_maps)(uid_map, gid_map)
    except BaseException:
        held.close()
        raise
    return held


def _be_child(theirs: socket.socket, *, network: bool, join: str) -> None:
    try:
        # Nothing of the caller's: neither its locks, nor the other end of another child's line.
        os.closerange(0, theirs.fileno())
        os.closerange(theirs.fileno() + 1, _LAST_FD)
        _answer(theirs, _CLONE_NEWUSER, join)
        if theirs.recv(1):
            _answer(theirs, _CLONE_NEWNET if network else 0)
            theirs.recv(1)
    finally:
        os._exit(0)


def _answer(theirs: socket.socket, flags: int, join: str = "") -> None:
    """Enter new namespaces, or the one that is to be joined, and tell with which error."""
    code = 0
    try:
        if join:
            libc.setns(os.open(join, os.O_RDONLY | os.O_CLOEXEC), flags)
        else:
            libc.unshare(flags)
    except OSError as error:
        code = error.errno or 255
    theirs.send(bytes((code,)))


def _await(ours: socket.socket) -> None:
    answer = ours.recv(1)
    if answer != _DONE:
        code = answer[0] if answer else 0
        raise OSError(code, f"unshare: {os.strerror(code)}" if code else "the child has ended")
