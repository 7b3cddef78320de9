"""From where a published port can be reached, as far as the host's addresses decide it.

What rules of the operator's own forbid on top of that is not known here (docs/firewall.md).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.network.context import NetworkContext

THIS_HOST = "this host only"


def reach(address: str, hosts_own: Sequence[str]) -> str:
    """Who reaches a port that is published at ``address`` of a host with these addresses."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_loopback:
        return THIS_HOST
    if not parsed.is_unspecified:
        return f"whoever reaches {address}"
    found = [one for one in hosts_own if ipaddress.ip_address(one).version == parsed.version]
    return f"whoever reaches {', '.join(found)}" if found else THIS_HOST


def host_addresses(context: NetworkContext) -> list[str]:
    """Those by which others reach the host: without the ones that it has towards containers."""
    from runengine.netns import routes

    gateways = {pool.gateway for network in context.store.networks.all() for pool in network.pools}
    return [address for address in routes.host_addresses() if address not in gateways]
