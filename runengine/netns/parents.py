"""Parents of macvlan and ipvlan endpoints: links of the host, some of them made on demand.

``eth0.10`` is made as VLAN 10 of ``eth0``, and ``dm-…`` as a link that leads nowhere, for networks
that are internal. The engine's own carry the alias ``runengine``; ``remove`` is for the last user.
"""

from __future__ import annotations

import errno

from runengine.errors import EngineError, InvalidParameter, NotFound, Unsupported
from runengine.netns import links, names
from runengine.netns.links import OUR_MARK
from runengine.netns.messages import (
    CREATE,
    RTM_NEWLINK,
    RTM_SETLINK,
    UP,
    Attributes,
    nested,
    request,
)
from runengine.netns.netlink import Connection, NetlinkError

INTERNAL_PREFIX = "dm-"
_MAX_VLAN = 4094


def ensure(device: str) -> int:
    """The index of the parent, which is made if it is not there and its name tells how.

    Raises InvalidParameter, NotFound or Unsupported.
    """
    names.check(device)
    index = links.index_of(device)
    return _make(device) if index is None else index


def _make(device: str) -> int:
    kind, attributes = _description(device)
    attributes += [("IFLA_IFNAME", device)]
    mark: Attributes = [("IFLA_IFNAME", device), ("IFLA_IFALIAS", OUR_MARK)]
    with Connection() as connection:
        # Together, so that no kill can come in between and leave a link that is nobody's.
        made, marked = connection.attempt(
            [
                request(RTM_NEWLINK, attributes, flags=CREATE),
                request(RTM_SETLINK, mark, UP),
            ]
        )
    error = made if made is not None and made.errno != errno.EEXIST else marked
    if error is not None:
        raise _refused(device, kind, error)
    index = links.index_of(device)
    if index is None:
        raise NotFound(f"link {device} vanished while it was made")
    return index


def _description(device: str) -> tuple[str, Attributes]:
    """Driver and attributes of a link that does not exist yet."""
    if device.startswith(INTERNAL_PREFIX):
        return "dummy", [("IFLA_LINKINFO", nested(("IFLA_INFO_KIND", "dummy")))]
    carrier, _, number = device.rpartition(".")
    index = links.index_of(carrier) if carrier else None
    if index is None or not number.isdecimal():
        raise NotFound(
            f"no link {device} on this host",
            resolution="name one with -o parent=NAME, or NAME.VLAN to have a VLAN made",
        )
    if not 1 <= int(number) <= _MAX_VLAN:
        raise InvalidParameter(f"link {device}: a VLAN has a number from 1 to {_MAX_VLAN}")
    info = nested(
        ("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", nested(("IFLA_VLAN_ID", int(number))))
    )
    return "vlan", [("IFLA_LINK", index), ("IFLA_LINKINFO", info)]


def remove(device: str) -> None:
    """Remove the parent if the engine made it; endpoints that are left on it go with it."""
    with Connection() as connection:
        found = links.find(connection, device)
        if found is not None and found.is_ours:
            links.delete(connection, device)


def _refused(device: str, kind: str, error: NetlinkError) -> EngineError:
    if error.errno == errno.EOPNOTSUPP:
        modules = {"vlan": "8021q"}
        return Unsupported(
            f"cannot make link {device}: this kernel has no driver for {kind}",
            details=error.strerror,
            resolution=f"load the module: modprobe {modules.get(kind, kind)}",
        )
    return EngineError(f"cannot make link {device}", details=error.strerror)
