"""Which servers know the rest of the world: those of the host, the silent ones last."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    SocketAddress = tuple[str, int] | tuple[str, int, int, int]

HOST_FILE = "/etc/resolv.conf"
RESOLVED_FILE = "/run/systemd/resolve/resolv.conf"
"""systemd-resolved(8): the servers that its own, local one asks."""
RESOLVED_STUBS = frozenset({"127.0.0.53", "127.0.0.54"})
DEFAULT = ("127.0.0.1",)
"""resolv.conf(5): without an entry, the server on this machine."""
LOOK_AGAIN_S = 1.0
SILENT_S = 30.0
"""How long a server that did not answer is asked after the others."""


def parse(text: str) -> tuple[str, ...]:
    """Addresses of the ``nameserver`` lines of a resolv.conf(5), each once."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1]):
            found.append(words[1])
    return tuple(dict.fromkeys(found))


def is_address(text: str) -> bool:
    """Whether it is an IP address; IPv6 may have a zone (``fe80::1%eth0``)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def sockaddr(address: str, port: int) -> SocketAddress:
    """The address as connect(2) wants it. Raises OSError for a zone that is no link."""
    if ":" not in address:
        return address, port
    plain, _, zone = address.partition("%")
    index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    return plain, port, 0, index


class HostServers:
    """The servers of the host's resolv.conf, as it is now.

    systemd-resolved's local server is asked like any other, as we are in the host's network: it
    knows which link's server is right for a domain. Those behind it come after it, for the case
    that it is down.
    """

    def __init__(self, path: str = HOST_FILE, resolved_path: str = RESOLVED_FILE) -> None:
        self._path = path
        self._resolved_path = resolved_path
        self._looked = -LOOK_AGAIN_S
        self._versions: list[tuple[int, int, int] | None] = []
        self._servers: tuple[str, ...] = DEFAULT

    def current(self) -> tuple[str, ...]:
        """In the file's order; the files are looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN_S:
            self._looked = now
            versions = [_version(self._path), _version(self._resolved_path)]
            if versions != self._versions:
                self._versions = versions
                self._servers = self._read()
        return self._servers

    def _read(self) -> tuple[str, ...]:
        servers = parse(_content(self._path)) or DEFAULT
        if RESOLVED_STUBS.issuperset(servers):
            servers = tuple(dict.fromkeys(servers + parse(_content(self._resolved_path))))
        return servers


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


class Reachability:
    """Remembers who did not answer, so that not every question waits for a dead server."""

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}

    def order(self, servers: Iterable[str]) -> list[str]:
        """The same servers; those that were silent lately last."""
        if not self._silent:
            return list(servers)
        since = time.monotonic() - SILENT_S
        self._silent = {name: when for name, when in self._silent.items() if when > since}
        return sorted(servers, key=self._silent.__contains__)

    def was_silent(self, server: str) -> None:
        """It did not answer in time, or refused the packet."""
        self._silent[server] = time.monotonic()

    def answered(self, server: str) -> None:
        """It did."""
        if self._silent:
            self._silent.pop(server, None)
