"""The resolver's own socket, ``<state>/dns/control``: who connects is told how things stand.

Before it answers, the resolver reads the tables again. So an answer means that every table
written until then is in force, and no answer that there is no resolver.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "control"
LOCK_NAME = "lock"
"""Held by the resolver while it lives."""
BACKLOG = 128
TIMEOUT_S = 10.0
MAX_FAILURES = 100
MAX_ANSWER = 1 << 16


class Answer(NamedTuple):
    """How things stand."""

    pid: int
    failures: dict[str, str]
    """Addresses that the resolver cannot listen on, and why."""


@contextmanager
def _short_path(directory: str) -> Iterator[str]:
    """The socket's path by descriptor: an address of a socket has 108 bytes at most (unix(7))."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


def listen(directory: str) -> socket.socket:
    """The socket, in the place of one that a killed resolver left; the caller has the lock."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with _short_path(directory) as path:
        with suppress(FileNotFoundError):
            os.unlink(path)
        sock.bind(path)
        os.chmod(path, 0o600)
    sock.listen(BACKLOG)
    return sock


def unlink(directory: str) -> None:
    """Take the socket's name away; the caller has the lock."""
    with suppress(FileNotFoundError):
        os.unlink(f"{directory}/{NAME}")


def answer(sock: socket.socket, failures: dict[str, str]) -> None:
    """Tell one who has connected."""
    some = dict(itertools.islice(failures.items(), MAX_FAILURES))
    with suppress(OSError):  # it went away
        sock.send(json.dumps({"pid": os.getpid(), "failures": some}).encode())


def ask(directory: str) -> Answer | None:
    """How things stand; None if no resolver is there, or it has just ended.

    Raises TimeoutError if it does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(TIMEOUT_S)
        try:
            with _short_path(directory) as path:
                sock.connect(path)
            document = sock.recv(MAX_ANSWER)
        except TimeoutError:
            raise
        except OSError as error:
            if error.errno == errno.EAGAIN:  # the queue of those who connect is full
                raise TimeoutError(os.strerror(errno.EAGAIN)) from None
            return None
    if not document:
        return None
    found = json.loads(document)
    return Answer(found["pid"], found["failures"])
