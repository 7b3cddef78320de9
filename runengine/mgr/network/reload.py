"""``network reload``: put on the host again what is recorded, after others took it away.

Firewalls that are reloaded flush tables that are not theirs; links get deleted by hand. Running
containers keep their interfaces and addresses, and reach the world again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.mgr.network import names, up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.store.network_types import Network


def reload(context: NetworkContext, networks: Sequence[Network]) -> list[str]:
    """Make bridges, firewall, published ports and names of these networks anew.

    Containers that have ended give back what they have first. Returns the names of the networks
    that were up or are needed: the others come up with their first container.
    """
    endpoints = context.store.endpoints
    done = []
    for network in networks:
        context.reclaim(endpoints.holders(network.id))
        if not endpoints.holders(network.id) and not up.exists(network.device):
            continue
        up.ensure_up(context, network, again=True)
        done.append(network.name)
    up.replay(context)
    names.refresh(context, [network.id for network in networks])
    return done
