"""Switches of the host's own IP stack, without which containers reach nobody but each other.

Only what is needed is switched on, nothing is ever switched off again (others may have come to
rely on it), and the caller is told what was changed, to say so to the user.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.netns import loopback, sysctls

if TYPE_CHECKING:
    from runengine.netns.types import Bridge

_NOT_DEVICES = ("all", "default", "lo")


def enable(bridge: Bridge) -> list[str]:
    """Let the host forward for this bridge, which must be there; returns what it changed.

    Of the host as a whole, that is: settings of our own bridge are nobody else's concern. An
    internal network forwards nothing and so needs nothing of the host.
    """
    families = {6 if ":" in address else 4 for address in bridge.addresses}
    changed: list[str] = []
    try:
        if 4 in families:
            # Connections from 127.0.0.1 to a published port leave through the bridge; what
            # containers send to 127.0.0.0/8 the firewall drops.
            sysctls.set_ipv4(bridge.device, "route_localnet", "1")
            if not bridge.internal:
                changed += _enable_ipv4()
        if 6 in families:
            loopback.add_route(bridge.device)
            if not bridge.internal:
                changed += _enable_ipv6()
    except OSError as error:
        raise EngineError(
            f"cannot forward for bridge {bridge.device}",
            details=f"{error.filename or 'netlink'}: {error.strerror}",
            resolution="is /proc/sys read-only, or the bridge gone?",
        ) from error
    return changed


def _enable_ipv4() -> list[str]:
    return ["net.ipv4.ip_forward=1"] if _set("ipv4/ip_forward", "1") else []


def _enable_ipv6() -> list[str]:
    """A host that forwards takes no more routes from routers, unless told to for each link."""
    if sysctls.get_ipv6("all", "forwarding") == "1":
        return []
    changed = [
        f"net.ipv6.conf.{device}.accept_ra=2"
        for device in sorted(os.listdir(f"{sysctls.ROOT}/ipv6/conf"))
        if device not in _NOT_DEVICES
        and sysctls.get_ipv6(device, "accept_ra") == "1"
        and _set(f"ipv6/conf/{device}/accept_ra", "2")
    ]
    _set("ipv6/conf/all/forwarding", "1")
    return [*changed, "net.ipv6.conf.all.forwarding=1"]


def _set(name: str, value: str) -> bool:
    """Whether it had another value before."""
    path = f"{sysctls.ROOT}/{name}"
    with open(path, encoding="ascii") as file:
        if file.read().strip() == value:
            return False
    with open(path, "w", encoding="ascii") as file:
        file.write(value)
    return True
