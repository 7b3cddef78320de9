"""Where the metrics are served: reading the address, and listening there."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

UNIX = "unix:"
SOCKET_PATH_BYTES = 107
"""Longest path in a socket's address (unix(7))."""
BACKLOG = 64
PATIENCE_S = 3.0
"""How long the server of a service that was just stopped may keep the address."""
_RETRY_S = 0.05
_EXAMPLE = "give 127.0.0.1:9323, or unix:/run/runengine/metrics.sock"


class Address(NamedTuple):
    """A TCP address (``host`` is an IP address), or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only this host can reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """An address as operators write it: ``127.0.0.1:9323``, ``[::1]:9323``, ``unix:/path``.

    A name would depend on a resolver, and nothing on "everywhere": both are refused. Raises
    InvalidParameter.
    """
    if text.startswith(UNIX):
        return _unix(text)
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise _refused(text, "it has no port from 0 to 65535")
    if not host:
        raise InvalidParameter(
            f"invalid metrics address {text!r}: it has no host",
            resolution=f"give 127.0.0.1:{port}, or 0.0.0.0:{port} to serve the whole network",
        )
    return Address(_ip_address(host, text), int(port))


def _ip_address(host: str, text: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        raise _refused(text, f"{host!r} is no IP address") from None
    if (found.version == 6) != (bare != host):
        raise _refused(text, "an IPv6 address, and only that, stands in [brackets]")
    return str(found)


def _unix(text: str) -> Address:
    path = text.removeprefix(UNIX)
    if not path.startswith("/") or "\0" in path:
        raise _refused(text, "the path of a unix socket is absolute")
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise _refused(text, f"the path of a unix socket has at most {SOCKET_PATH_BYTES} bytes")
    return Address(path=path)


def _refused(text: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"invalid metrics address {text!r}: {why}", resolution=_EXAMPLE)


def listen(address: Address) -> socket.socket:
    """A listening socket there, for root alone if it is a unix one. Raises Unavailable."""
    attempt = _listen_unix if address.path else _listen_tcp
    try:
        return _patiently(attempt, address)
    except OSError as error:
        raise Unavailable(
            f"cannot serve metrics on {address}: {error.strerror or error}",
            resolution="choose another address with --metrics",
        ) from None


def _patiently(attempt: Callable[[Address], socket.socket], address: Address) -> socket.socket:
    """Try again while our predecessor is still leaving."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_S)


def _listen_tcp(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        # Without what the library adds: the address is in our own words already.
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None


def _listen_unix(address: Address) -> socket.socket:
    """Take the path over from a dead server; from anything else never."""
    _unlink_dead(address.path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(address.path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _unlink_dead(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is something else than a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except TimeoutError:
            pass  # somebody is there and has no time
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
