"""Networks in Docker's shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.linux.clock import boot_id
from runengine.mgr.network import filters as filtering

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.store.network_types import Network, Pool, ReservedEndpoint


def list_networks(
    context: NetworkContext, filters: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Docker's ``/networks``: every network that passes, by name, without its containers.

    Filters: dangling, driver, id, label, name, scope, type. Raises InvalidParameter.
    """
    used = context.store.endpoints.networks_in_use() if "dangling" in filters else ()
    test = filtering.for_list(filters, used)
    return [document(network) for network in context.store.networks.all() if test(network)]


def inspect(context: NetworkContext, network: Network) -> dict[str, Any]:
    """Docker's ``/networks/{id}``, with the containers that are on it."""
    endpoints = context.store.endpoints
    context.reclaim(endpoints.holders(network.id))
    reserved = endpoints.on(network.id, boot_id())
    containers = {one.container_id: _container(context, one) for one in reserved}
    return {**document(network), "Containers": containers}


def document(network: Network) -> dict[str, Any]:
    """What is known of a network by its record alone."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created_at,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.pool(4) is not None or network.driver in ("host", "null"),
        "EnableIPv6": network.pool(6) is not None,
        "IPAM": {
            "Driver": "default",
            "Options": network.ipam_options or None,
            "Config": [_pool(pool) for pool in network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": network.options,
        "Labels": network.labels,
    }


def _pool(pool: Pool) -> dict[str, Any]:
    rest = {"IPRange": pool.ip_range, "Gateway": pool.gateway, "AuxiliaryAddresses": pool.aux}
    return {"Subnet": pool.subnet} | {key: value for key, value in rest.items() if value}


def _container(context: NetworkContext, endpoint: ReservedEndpoint) -> dict[str, Any]:
    return {
        "Name": context.plain_name_of(endpoint.container_id),
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.ip}/{endpoint.ip_prefix}" if endpoint.ip else "",
        "IPv6Address": f"{endpoint.ip6}/{endpoint.ip6_prefix}" if endpoint.ip6 else "",
    }
