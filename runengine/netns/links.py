"""Interfaces of the namespace that the calling thread is in: found, described, removed."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import messages
from runengine.netns.messages import IFF_UP, RTM_DELLINK, RTM_GETLINK
from runengine.netns.netlink import Connection, NetlinkError

if TYPE_CHECKING:
    from typing import Any

_SIOCGIFMTU = 0x8921
_SKIP_STATISTICS = ("IFLA_EXT_MASK", 8)
OUR_MARK = "runengine"
"""Alias of the interfaces that the engine has made in the host's namespace to last."""


class Link(NamedTuple):
    """An interface as the kernel describes it."""

    number: int
    """Its index, in its namespace."""
    name: str
    kind: str
    """Its driver as rtnetlink names it; empty for hardware and the loopback interface."""
    up: bool
    mtu: int
    mac: str
    alias: str

    @property
    def is_ours(self) -> bool:
        """Whether the engine made it."""
        return self.alias == OUR_MARK


def find(connection: Connection, name: str) -> Link | None:
    """The interface of this name, or None."""
    request = messages.request(RTM_GETLINK, [("IFLA_IFNAME", name), _SKIP_STATISTICS])
    try:
        return _link(connection.get(request))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def ports_of(connection: Connection, index: int) -> list[Link]:
    """The interfaces that are plugged into this one."""
    request = messages.request(RTM_GETLINK, [("IFLA_MASTER", index), _SKIP_STATISTICS])
    # A kernel that does not filter lists them all.
    return [_link(found) for found in connection.dump(request) if _master(found) == index]


def _master(found: Any) -> int | None:
    master: int | None = found.get_attr("IFLA_MASTER")
    return master


def _link(found: Any) -> Link:
    info = found.get_attr("IFLA_LINKINFO")
    return Link(
        number=found["index"],
        name=found.get_attr("IFLA_IFNAME") or "",
        kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        up=bool(found["flags"] & IFF_UP),
        mtu=found.get_attr("IFLA_MTU") or 0,
        mac=found.get_attr("IFLA_ADDRESS") or "",
        alias=found.get_attr("IFLA_IFALIAS") or "",
    )


def delete(connection: Connection, name: str) -> bool:
    """Remove the interface and what hangs on it; True if it was there. Raises NetlinkError."""
    try:
        connection.execute(messages.request(RTM_DELLINK, [("IFLA_IFNAME", name)]))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def index_of(name: str) -> int | None:
    """The interface's index, without a netlink socket; None if there is none of the name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def mtu_of(name: str) -> int:
    """The interface's MTU by ioctl (netdevice(7)). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFMTU, struct.pack("16s16x", name.encode()))
    (mtu,) = struct.unpack_from("=i", answer, 16)
    return int(mtu)
