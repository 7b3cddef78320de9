"""Interfaces of the namespace that the calling thread is in: found, described, removed."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import messages
from runengine.netns.messages import IFF_UP, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, UP
from runengine.netns.netlink import Connection, NetlinkError

if TYPE_CHECKING:
    from typing import Any

_SIOCGIFMTU = 0x8921
_SIOCGIFHWADDR = 0x8927
_IFNAMSIZ = 16
_IFLA_OPERSTATE, _IFLA_LINK_NETNSID = 16, 37
_IF_OPER_UP = 6
_LOOPBACK_INDEX = 1
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


def come_up(index: int) -> tuple[bytearray, bytearray]:
    """Requests that set the interface up, and that ask for it.

    A change of carrier is worked on later (net/core/link_watch.c), and until then frames are
    dropped; for who asks for an interface, new kernels do it at once.
    """
    fields = {"index": index}
    return (
        messages.request(RTM_SETLINK, [], {**fields, **UP}),
        messages.request(RTM_GETLINK, [_SKIP_STATISTICS], fields),
    )


def is_operational(connection: Connection, name: str) -> bool:
    """Whether frames pass; they do not yet when the interface is up and has a carrier."""
    request = messages.request(RTM_GETLINK, [("IFLA_IFNAME", name), _SKIP_STATISTICS])
    return connection.get_attribute(request, _IFLA_OPERSTATE) == bytes([_IF_OPER_UP])


def announce(index: int, mac: str) -> bytearray:
    """Have the kernel tell the neighbours of all addresses of the interface.

    That is what it does when the MAC address is set, if the settings arp_notify and ndisc_notify
    are on; to the same one here. Who knew an address by another MAC address learns of it.
    """
    return messages.request(RTM_SETLINK, [("IFLA_ADDRESS", mac)], {"index": index})


def unplug(connection: Connection, name: str) -> bool:
    """Take the interface off its bridge; True if it was there. Raises NetlinkError."""
    attributes: messages.Attributes = [("IFLA_IFNAME", name), ("IFLA_MASTER", 0)]
    return _unless_gone(connection, messages.request(RTM_SETLINK, attributes))


def peer_lives(connection: Connection, name: str) -> bool:
    """Whether the namespace of the interface's peer is in use, and not being cleaned up."""
    request = messages.request(RTM_GETLINK, [("IFLA_IFNAME", name), _SKIP_STATISTICS])
    try:
        number = connection.get_attribute(request, _IFLA_LINK_NETNSID)
        if number is not None:
            # Whoever asks about a namespace that nobody holds any more is refused.
            connection.get_attribute(_about_loopback(*struct.unpack("=I", number)), 0)
    except NetlinkError:
        return False
    return True


def _about_loopback(namespace_id: int) -> bytearray:
    attributes: messages.Attributes = [("IFLA_IF_NETNSID", namespace_id), _SKIP_STATISTICS]
    return messages.request(RTM_GETLINK, attributes, {"index": _LOOPBACK_INDEX})


def delete(connection: Connection, name: str) -> bool:
    """Remove the interface and what hangs on it; True if it was there. Raises NetlinkError."""
    return _unless_gone(connection, messages.request(RTM_DELLINK, [("IFLA_IFNAME", name)]))


def _unless_gone(connection: Connection, request: bytearray) -> bool:
    try:
        connection.execute(request)
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
    """The interface's MTU. Raises OSError."""
    (mtu,) = struct.unpack_from("=i", _ask(_SIOCGIFMTU, name), _IFNAMSIZ)
    return int(mtu)


def mac_of(name: str) -> str:
    """The interface's MAC address. Raises OSError."""
    address = _ask(_SIOCGIFHWADDR, name)[_IFNAMSIZ + 2 :][:6]
    return ":".join(f"{byte:02x}" for byte in address)


def _ask(number: int, name: str) -> bytes:
    """By ioctl (netdevice(7)): a tenth of what an answer by netlink takes to be read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        return fcntl.ioctl(sock, number, struct.pack("16s24x", name.encode()))
