"""``--link`` on the default network, which has no resolver: lines in /etc/hosts, and variables.

On the other networks a link is a name that the resolver answers to one container only. Source:
Docker's documentation of legacy container links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, InvalidParameter
from runengine.mgr.network import port_wishes
from runengine.mgr.network.modes import BRIDGE

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

_PRIVATE = frozenset(("HOME", "PATH"))
"""Variables that every container has for itself."""


class Link(NamedTuple):
    """Another container, under a name of this one's own."""

    alias: str
    target: Record
    address: str

    @property
    def names(self) -> str:
        """The names in /etc/hosts."""
        hostname = self.target.details["hostname"]
        return " ".join(dict.fromkeys((self.alias, hostname, self.target.name)))


def resolve(context: Context, record: Record) -> list[Link]:
    """Where the linked containers are. Raises NotFound, Conflict (one does not run)."""
    found = []
    for text in record.host_config.get("Links") or ():
        name, _, alias = text.removeprefix("/").partition(":")
        target = context.store.containers.get(context.resolve(name))
        found.append(Link(alias or name, target, _address(context, record, target, alias or name)))
    return found


def _address(context: Context, record: Record, target: Record, alias: str) -> str:
    if target.id == record.id:
        raise InvalidParameter(f"container {record.name} cannot be linked to itself")
    here = [one for one in context.networks.endpoints_of(target.id) if one.network_name == BRIDGE]
    if not here:
        raise Conflict(
            f"Cannot link to a non running container: /{target.name} AS /{record.name}/{alias}",
            resolution=f"start {target.name} first, on network {BRIDGE}",
        )
    return here[0].ip or here[0].ip6


def to(context: Context, record: Record, target: Record, address: str) -> list[Link]:
    """The links of ``record`` that lead to ``target``, which is at ``address`` now."""
    found = []
    for text in record.host_config.get("Links") or ():
        name, _, alias = text.removeprefix("/").partition(":")
        if target.name == name or (target.id.startswith(name) and target.id == _id(context, name)):
            found.append(Link(alias or name, target, address))
    return found


def _id(context: Context, name: str) -> str | None:
    from runengine.errors import AmbiguousName, NotFound

    try:
        return context.resolve(name)
    except (NotFound, AmbiguousName):
        return None


def environment(context: Context, record: Record) -> list[str]:
    """The variables that tell of linked containers; the container's own win."""
    own = {text.partition("=")[0] for text in record.config["Env"]}
    found = [text for link in resolve(context, record) for text in _variables(record, link)]
    return [text for text in found if text.partition("=")[0] not in own]


def _variables(record: Record, link: Link) -> list[str]:
    prefix = link.alias.replace("-", "_").upper()
    ports = sorted(
        (port_wishes.parse_port(text) for text in link.target.config["ExposedPorts"]),
        key=lambda port: (port[1] != "tcp", port),
    )
    host = f"[{link.address}]" if ":" in link.address else link.address
    found = [f"{prefix}_NAME=/{record.name}/{link.alias}"]
    if ports:
        found.append(f"{prefix}_PORT={ports[0][1]}://{host}:{ports[0][0]}")
    for number, protocol in ports:
        key = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{key}={protocol}://{host}:{number}",
            f"{key}_ADDR={link.address}",
            f"{key}_PORT={number}",
            f"{key}_PROTO={protocol}",
        ]
    for text in link.target.config["Env"]:
        name, _, value = text.partition("=")
        if name not in _PRIVATE:
            found.append(f"{prefix}_ENV_{name}={value}")
    return found
