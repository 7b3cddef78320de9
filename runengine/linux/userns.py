"""User namespaces, made apart from any container (user_namespaces(7)).

Only a process with one thread can make one, so a child does, which ends at once: what is left is
held by a descriptor.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_DONE = b"\0"


class Namespaces(NamedTuple):
    """Descriptors (close-on-exec); the caller closes them."""

    user: int
    network: int | None
    """A network namespace that belongs to the user namespace, its loopback interface down."""


def make(uid_map: str, gid_map: str, *, network: bool = False) -> Namespaces:
    """A user namespace with these maps, of lines ``INSIDE OUTSIDE COUNT``. Raises OSError."""
    ours, theirs = socket.socketpair()
    with ours, _child(ours, theirs, network=network) as pid:
        theirs.close()
        _await(ours)
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            # In one go, as the kernel wants it.
            with open(f"/proc/{pid}/{name}", "wb", buffering=0) as file:
                file.write(text.encode())
        ours.send(_DONE)
        _await(ours)
        user = _open(pid, "user")
        try:
            return Namespaces(user, _open(pid, "net") if network else None)
        except BaseException:
            os.close(user)
            raise


def _open(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _child(ours: socket.socket, theirs: socket.socket, *, network: bool) -> Iterator[int]:
    """The process in the new namespaces, while the block runs."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads: the child takes no lock that one may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _be_child(ours, theirs, network=network)
    try:
        yield pid
    finally:
        ours.close()  # it ends then, whatever it waits for
        os.waitpid(pid, 0)


def _be_child(ours: socket.socket, theirs: socket.socket, *, network: bool) -> None:
    try:
        ours.close()
        _answer(theirs, _CLONE_NEWUSER)
        if theirs.recv(1):
            _answer(theirs, _CLONE_NEWNET if network else 0)
            theirs.recv(1)
    finally:
        os._exit(0)


def _answer(theirs: socket.socket, flags: int) -> None:
    """Enter new namespaces, and tell with which error."""
    code = 0
    try:
        libc.unshare(flags)
    except OSError as error:
        code = error.errno or 255
    theirs.send(bytes((code,)))


def _await(ours: socket.socket) -> None:
    answer = ours.recv(1)
    if answer != _DONE:
        code = answer[0] if answer else 0
        raise OSError(code, f"unshare: {os.strerror(code)}" if code else "the child has ended")
