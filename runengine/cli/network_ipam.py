"""``--subnet``, ``--ip-range``, ``--gateway``, ``--aux-address``: which belong together.

Each is given apart; what lies in a subnet belongs to it. Whether it is well-formed is for the
manager to say, so what is no address here goes to it as it is. Raises InvalidParameter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.network.request import IpamPool
    from runengine.netns.ipam import IPNetwork


def pools(
    subnets: Sequence[str],
    ip_ranges: Sequence[str],
    gateways: Sequence[str],
    aux: Mapping[str, str],
) -> list[IpamPool]:
    """One pool for each subnet, with all that lies in it."""
    if not subnets and (ip_ranges or gateways or aux):
        raise InvalidParameter(
            "every ip-range or gateway must have a corresponding subnet",
            resolution="name it with --subnet",
        )
    parsed = _parsed(subnets)
    found: list[dict[str, Any]] = [{"Subnet": str(subnet)} for subnet in parsed]
    for text in ip_ranges:
        _put(found, parsed, ("IPRange", "ip-range", text), text.partition("/")[0])
    for text in gateways:
        _put(found, parsed, ("Gateway", "gateway", text), text)
    for name, text in aux.items():
        pool = found[_place(parsed, "aux-address", text)]
        pool.setdefault("AuxiliaryAddresses", {})[name] = text
    return found  # type: ignore[return-value]


def _parsed(subnets: Sequence[str]) -> list[IPNetwork]:
    from runengine.netns import ipam

    found: list[IPNetwork] = []
    for text in subnets:
        subnet = ipam.parse_subnet(text)
        for other in found:
            if other.version == subnet.version and other.overlaps(subnet):
                raise InvalidParameter(
                    f"multiple overlapping subnet configuration is not supported: {other} and"
                    f" {subnet}"
                )
        found.append(subnet)
    return found


def _put(
    found: list[dict[str, Any]],
    subnets: Sequence[IPNetwork],
    item: tuple[str, str, str],
    address: str,
) -> None:
    key, what, text = item
    number = _place(subnets, what, address)
    if key in found[number]:
        raise InvalidParameter(
            f"cannot configure multiple {what}s ({found[number][key]}, {text}) on the same subnet"
            f" ({subnets[number]})"
        )
    found[number][key] = text


def _place(subnets: Sequence[IPNetwork], what: str, address: str) -> int:
    """The number of the subnet that an address lies in."""
    from runengine.netns import ipam

    ipam.packed(address)
    for number, subnet in enumerate(subnets):
        if ipam.contains(str(subnet), address):
            return number
    raise InvalidParameter(
        f"no matching subnet for {what} {address}",
        resolution=f"the subnets are {', '.join(map(str, subnets))}",
    )
