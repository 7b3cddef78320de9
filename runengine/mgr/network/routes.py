"""Which of a container's networks its default routes lead through, and its published ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.store.network_types import Network, ReservedEndpoint, WantedEndpoint


def gateway_of(reserved: Sequence[ReservedEndpoint], family: int) -> ReservedEndpoint | None:
    """The endpoint that the default route of a family goes through.

    The highest ``gw-priority`` of those with a gateway; among equals the first name (Docker's
    rule: lexicographically).
    """
    able = [one for one in reserved if (one.gateway6 if family == 6 else one.gateway)]
    return min(able, key=lambda one: (-one.wanted.gw_priority, one.network_name), default=None)


def gateways(
    reserved: Sequence[ReservedEndpoint], one: ReservedEndpoint
) -> tuple[str, ...]:
    """The default routes' gateways that are this endpoint's."""
    found = []
    for family, address in ((4, one.gateway), (6, one.gateway6)):
        chosen = gateway_of(reserved, family)
        if chosen is not None and chosen.network_id == one.network_id:
            found.append(address)
    return tuple(found)


def publishing(wanted: Sequence[WantedEndpoint], networks: Sequence[Network]) -> str | None:
    """The id of the network that published ports lead through: the default route's.

    An answer takes the default route, so it must be that one. None if no network can: internal
    ones and those whose containers the host does not reach (macvlan, ipvlan).
    """
    able = [
        (-wish.gw_priority, network.name, network.id)
        for wish, network in zip(wanted, networks, strict=True)
        if network.driver == "bridge" and not network.internal and network.pools
    ]
    return min(able)[2] if able else None
