"""The networks that are always there: ``none``, ``host`` and the default ``bridge``.

Their records are made when somebody first asks for a network. The bridge's subnet is chosen then:
what the host used before has precedence, and it stays the same from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import AlreadyExists, Conflict
from runengine.linux import clock
from runengine.store.network_types import Network

if TYPE_CHECKING:
    from runengine.mgr.network.context import NetworkContext
    from runengine.netns.ipam import IPNetwork

BRIDGE, HOST, NONE = "bridge", "host", "none"
NAMES = (BRIDGE, HOST, NONE)
DRIVERS = {BRIDGE: "bridge", HOST: "host", NONE: "null"}


def ensure(context: NetworkContext, *, bridge: bool = False) -> None:
    """Make the records that are missing. Raises Conflict if no subnet is free and ``bridge`` is
    what is wanted: a host that uses every pool still has the others.
    """
    missing = [name for name in NAMES if context.store.networks.find_id(name) is None]
    if not missing:
        return
    from runengine.mgr.network import subnets

    used = subnets.used_by_host() if BRIDGE in missing else []
    for name in reversed(missing):  # the one that may fail comes last
        try:
            _ensure_one(context, name, used)
        except Conflict:
            if bridge:
                raise


def _ensure_one(context: NetworkContext, name: str, used: list[IPNetwork]) -> None:
    networks = context.store.networks
    network = Network(ids.new_id(), name, DRIVERS[name], "", clock.now(), builtin=True)
    with context.store.database.write():
        if networks.find_id(name) is not None:
            return  # another process was faster
        if name == BRIDGE:
            from runengine.mgr.network import subnets

            taken = [*used, *subnets.of_networks(context)]
            pool = subnets.choose(context, 4, taken)
            network = network._replace(device=context.default_device, pools=(pool,))
        networks.add(network)


def refuse_name(name: str) -> None:
    """Raise AlreadyExists for the name of one of them."""
    if name in NAMES:
        raise AlreadyExists(f"network with name {name} already exists: it is always there")
