"""Plug endpoints into their bridge again: one that was deleted by others and made anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import NotFound
from runengine.netns import links, veth
from runengine.netns.messages import RTM_SETLINK, request
from runengine.netns.netlink import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.netns.types import Endpoint

_LINKS = "/sys/class/net"


def plug_in(endpoints: Iterable[Endpoint]) -> None:
    """Let the host's ends of these be ports of their bridges; those that are, and that are gone
    with their containers, are left alone. Raises NotFound if a bridge is not there.
    """
    lost = [endpoint for endpoint in endpoints if _is_lost(endpoint)]
    if not lost:
        return
    with Connection() as connection:
        for endpoint in lost:
            bridge = links.index_of(endpoint.device)
            if bridge is None:
                raise NotFound(f"no bridge {endpoint.device} on this host")
            name = ("IFLA_IFNAME", endpoint.host_name)
            errors = connection.attempt(
                [request(RTM_SETLINK, [name, ("IFLA_MASTER", bridge)]), veth.port(endpoint)]
            )
            # One that went with its container just now is no loss.
            if errors[0] is not None and links.index_of(endpoint.host_name) is not None:
                raise errors[0]


def _is_lost(endpoint: Endpoint) -> bool:
    here = f"{_LINKS}/{endpoint.host_name}"
    if not endpoint.host_name or not os.path.exists(here):
        return False
    try:
        return os.path.basename(os.readlink(f"{here}/master")) != endpoint.device
    except FileNotFoundError:
        return True
