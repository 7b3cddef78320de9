"""Plug endpoints into their bridge again: one that was deleted by others and made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import NotFound
from runengine.netns import links, veth
from runengine.netns.messages import RTM_SETLINK, request
from runengine.netns.netlink import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.netns.types import Endpoint


def plug_in(endpoints: Iterable[Endpoint]) -> None:
    """Let the host's ends of these be ports of their bridges, as they may be already.

    Those that are gone with their containers are left out. Raises NotFound if a bridge is not
    there.
    """
    here = [one for one in endpoints if one.host_name and links.index_of(one.host_name)]
    if not here:
        return
    with Connection() as connection:
        for endpoint in here:
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


def plugged_into(device: str) -> list[str]:
    """Names of what is plugged into a bridge; nothing where there is no such bridge."""
    index = links.index_of(device)
    if index is None:
        return []
    with Connection() as connection:
        return sorted(link.name for link in links.ports_of(connection, index))
