"""Bridges of the host that containers are plugged into.

A bridge of the engine carries the alias ``runengine``. One that was there already is used as it is
if nothing foreign is plugged in: it gets what it lacks, keeps what it has, and is never removed.
"""

from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError, InvalidParameter, Unsupported
from runengine.netns import addressing, links, messages, names, sysctls
from runengine.netns.links import OUR_MARK
from runengine.netns.messages import (
    CREATE,
    RTM_GETADDR,
    RTM_NEWLINK,
    RTM_SETLINK,
    UP,
    nested,
)
from runengine.netns.netlink import Connection, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.netns.addressing import Interface
    from runengine.netns.links import Link
    from runengine.netns.types import Bridge

PORT_PREFIX = "ve"
"""Names of the host's ends of containers' interfaces begin so."""
_RT_SCOPE_LINK = 253


def ensure(bridge: Bridge) -> None:
    """Make the bridge, or put right what differs; nothing is changed where all is as it should be.

    Raises InvalidParameter, Conflict or Unsupported.
    """
    names.check(bridge.device)
    wanted = addressing.parse(bridge.addresses)
    _check_family(bridge, wanted)
    try:
        with Connection() as connection:
            _ensure(connection, bridge, wanted)
    except NetlinkError as error:
        raise _refused(bridge, error) from error


def _check_family(bridge: Bridge, wanted: Sequence[Interface]) -> None:
    if any(address.version == 6 for address in wanted) and not sysctls.has_ipv6():
        raise Unsupported(
            f"bridge {bridge.device} cannot have an IPv6 address: this kernel has IPv6 disabled",
            resolution="create the network without IPv6, or boot without ipv6.disable=1",
        )


def _ensure(connection: Connection, bridge: Bridge, wanted: Sequence[Interface]) -> None:
    found = links.find(connection, bridge.device)
    if found is None:
        _make(connection, bridge, wanted)
        found = links.find(connection, bridge.device)
        if found is None:
            raise Conflict(f"bridge {bridge.device} vanished while it was made; try again")
    _check_usable(connection, found)
    _repair(connection, bridge, found, wanted)


def _make(connection: Connection, bridge: Bridge, wanted: Sequence[Interface]) -> None:
    """A bridge that is down; what another process makes at the same time is as good."""
    attributes: messages.Attributes = [
        ("IFLA_IFNAME", bridge.device),
        ("IFLA_ADDRESS", mac_of(bridge.device, wanted)),
        ("IFLA_LINKINFO", nested(("IFLA_INFO_KIND", "bridge"))),
    ]
    if bridge.mtu:
        attributes.append(("IFLA_MTU", bridge.mtu))
    mark: messages.Attributes = [("IFLA_IFNAME", bridge.device), ("IFLA_IFALIAS", OUR_MARK)]
    # Together, so that no kill can come in between and leave a bridge that is nobody's.
    made, marked = connection.attempt(
        [
            messages.request(RTM_NEWLINK, attributes, flags=CREATE),
            messages.request(RTM_SETLINK, mark),
        ]
    )
    if made is not None and made.errno != errno.EEXIST:
        raise made
    if marked is not None:
        raise marked


def mac_of(device: str, addresses: Sequence[Interface]) -> str:
    """A bridge without a MAC address of its own takes the lowest of its ports', so that it changes
    with every container; containers would lose their gateway each time. This one is for ever.
    """
    first = next((address.ip for address in addresses if address.version == 4), None)
    tail = first.packed if first else hashlib.sha256(device.encode()).digest()[:4]
    return "02:42:" + ":".join(f"{byte:02x}" for byte in tail)


def _check_usable(connection: Connection, found: Link) -> None:
    if found.kind != "bridge":
        raise Conflict(
            f"interface {found.name} exists and is no bridge (it is {found.kind or 'hardware'})",
            resolution="choose another name with -o com.docker.network.bridge.name=NAME",
        )
    if found.is_ours:
        return
    foreign = [
        port.name
        for port in links.ports_of(connection, found.number)
        if not port.name.startswith(PORT_PREFIX)
    ]
    if foreign:
        raise Conflict(
            f"bridge {found.name} is not the engine's and has {', '.join(foreign)} plugged in",
            resolution="choose another name with -o com.docker.network.bridge.name=NAME",
        )


def _repair(
    connection: Connection, bridge: Bridge, found: Link, wanted: Sequence[Interface]
) -> None:
    has_ipv6 = any(address.version == 6 for address in wanted)
    if found.is_ours or has_ipv6:
        _set_up_ipv6(bridge.device, enabled=has_ipv6)
    _set_link(connection, bridge, found)
    _set_addresses(connection, found, wanted)
    if not found.up:
        connection.execute(messages.request(RTM_SETLINK, [], {"index": found.number, **UP}))


def _set_up_ipv6(device: str, *, enabled: bool) -> None:
    """Without an address of its family the bridge has no IPv6, not even its link's own.

    The gateway must answer at once, and is no host that follows others' advertisements.
    """
    values = {"disable_ipv6": "0" if enabled else "1"}
    if enabled:
        values |= {"accept_ra": "0", "accept_dad": "0"}
    for name, value in values.items():
        if sysctls.get_ipv6(device, name) not in (value, None):
            sysctls.set_ipv6(device, name, value)


def _set_link(connection: Connection, bridge: Bridge, found: Link) -> None:
    attributes: messages.Attributes = []
    if bridge.mtu and found.mtu != bridge.mtu:
        attributes.append(("IFLA_MTU", bridge.mtu))
    if not found.is_ours:
        attributes.append(("IFLA_ADDRESS", found.mac))  # as it is, but from now on for ever
    if attributes:
        connection.execute(messages.request(RTM_SETLINK, attributes, {"index": found.number}))


def _set_addresses(connection: Connection, found: Link, wanted: Sequence[Interface]) -> None:
    present = _addresses(connection, found.number)
    missing = [address for address in wanted if address not in present]
    surplus = [address for address in present if address not in wanted and found.is_ours]
    if surplus:
        missing = list(wanted)  # with a first address, others of its subnet may go, too
    removals = [addressing.remove(address, found.number) for address in surplus]
    additions = [addressing.add(address, found.number) for address in missing]
    outcome = connection.attempt([*removals, *additions])
    for error in outcome[len(removals) :]:
        if error is not None and error.errno != errno.EEXIST:
            raise error


def _addresses(connection: Connection, index: int) -> list[Interface]:
    """Those of the interface, without the one that IPv6 makes up for the link."""
    found = connection.dump(messages.request(RTM_GETADDR, [], {"index": index}))
    return addressing.parse(
        f"{entry.get_attr('IFA_LOCAL') or entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}"
        for entry in found
        if entry["index"] == index and entry["scope"] != _RT_SCOPE_LINK
    )


def exists(device: str) -> bool:
    """Whether there is a bridge of this name, whoever made it."""
    with Connection() as connection:
        found = links.find(connection, device)
    return found is not None and found.kind == "bridge"


def is_ours(device: str) -> bool:
    """Whether the engine made the bridge."""
    with Connection() as connection:
        found = links.find(connection, device)
    return found is not None and found.kind == "bridge" and found.is_ours


def remove(device: str) -> None:
    """Remove the bridge if it is there and the engine made it."""
    with Connection() as connection:
        found = links.find(connection, device)
        if found is None or found.kind != "bridge" or not found.is_ours:
            return
        links.delete(connection, device)


def _refused(bridge: Bridge, error: NetlinkError) -> EngineError:
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(
            f"cannot make bridge {bridge.device}: this kernel has no bridges",
            details=error.strerror,
            resolution="load the module: modprobe bridge",
        )
    if error.errno in (errno.EINVAL, errno.ERANGE) and bridge.mtu:
        return InvalidParameter(
            f"bridge {bridge.device} cannot have an MTU of {bridge.mtu}", details=error.strerror
        )
    return EngineError(f"cannot set up bridge {bridge.device}", details=error.strerror)
