"""Who listens on a port of the host already: found before the port is published (sock_diag(7)).

A published port takes its traffic away from a process of the host that listens there, so this is
refused as it would be between two processes, by the kernel's own rules: the same protocol, the
same port, addresses that overlap. A socket on ``[::]`` takes IPv4 too unless it is IPv6-only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError
from runengine.linux import netlink
from runengine.linux.netlink import Message, NetlinkError, attributes
from runengine.netns.elements import EVERYWHERE, family_of
from runengine.netns.nftables import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCK_DIAG_BY_FAMILY = 20
_LISTEN, _CLOSE = 10, 7
_STATES = {"tcp": 1 << _LISTEN, "udp": 1 << _CLOSE, "sctp": 1 << _LISTEN}
"""An unconnected UDP socket counts as closed; a connected one hears nobody else."""
_V6_ONLY = 11
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_REQUEST = struct.Struct("=BBBxI48x")
_ANSWER = struct.Struct("=BBBB2s2s16s16sI2IIIIII")


class Listener(NamedTuple):
    """A socket that hears what comes to a port."""

    protocol: str
    address: str
    port: int
    pid: int
    """0: no process has it that we can see (another pid namespace, or the kernel itself)."""
    program: str

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        who = f"{self.program} (pid {self.pid})" if self.pid else "a process we cannot see"
        return f"{who} listens on {host}:{self.port}/{self.protocol}"


class _Socket(NamedTuple):
    address: str
    port: int
    v6_only: bool
    inode: int


def find(protocol: str, host_ip: str, port: int, count: int = 1) -> Listener | None:
    """Who listens on one of ``count`` ports from ``port`` on, in the thread's namespace."""
    return Listeners(protocol).find(host_ip, port, count)


class Listeners:
    """All who listen now, in the thread's namespace: for a container with many ports."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._by_port: dict[int, list[_Socket]] = {}
        for found in _listening(protocol):
            self._by_port.setdefault(found.port, []).append(found)

    def find(self, host_ip: str, port: int, count: int = 1) -> Listener | None:
        """Who listens on one of ``count`` ports from ``port`` on."""
        for number in range(port, port + count):
            for found in self._by_port.get(number, ()):
                if _overlap(found, host_ip):
                    pid, program = _owner(found.inode)
                    return Listener(self._protocol, found.address, number, pid, program)
        return None


def _overlap(found: _Socket, host_ip: str) -> bool:
    if family_of(found.address) == family_of(host_ip):
        return found.address == host_ip or host_ip in EVERYWHERE or found.address in EVERYWHERE
    # Only a socket on all of IPv6 hears IPv4.
    return found.address == "::" and not found.v6_only


def _listening(protocol: str) -> Iterator[_Socket]:
    for family in _FAMILIES.values():
        body = _REQUEST.pack(family, PROTOCOLS[protocol], 0, _STATES[protocol])
        flags = netlink.REQUEST | netlink.DUMP
        try:
            answer = netlink.ask(netlink.SOCK_DIAG, Message(_SOCK_DIAG_BY_FAMILY, flags, body))
        except NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.EPROTONOSUPPORT):
                return  # a kernel without this protocol has no such sockets
            raise EngineError(
                f"cannot see who listens on {protocol} ports", details=error.strerror or str(error)
            ) from error
        for _, data in answer:
            yield _socket(data)


def _socket(data: bytes) -> _Socket:
    fields = _ANSWER.unpack_from(data)
    family, port, source, inode = fields[0], fields[4], fields[6], fields[-1]
    if family == socket.AF_INET:
        address = socket.inet_ntop(family, source[:4])
    else:
        address = socket.inet_ntop(family, source)
    if address.startswith("::ffff:") and "." in address:
        address = address.rpartition(":")[2]
    v6_only = attributes(data[_ANSWER.size :]).get(_V6_ONLY, b"\0")
    return _Socket(address, int.from_bytes(port), v6_only[:1] == b"\1", inode)


def _owner(inode: int) -> tuple[int, str]:
    """The first process that has the socket: its pid and its name."""
    wanted = f"socket:[{inode}]"
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:  # ended, or not ours to look into
            continue
        for name in names:
            try:
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return pid, _program(pid)
            except OSError:
                continue
    return 0, ""


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process that has just ended"
