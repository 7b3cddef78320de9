"""Network records: what was created, and which subnets are whose.

A network's own addresses (its gateway, what its user said is in use elsewhere) are leases without
a container, in the same table as the containers' (``store.endpoints``): no address has two owners.
"""

from __future__ import annotations

import _socket
import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runengine.errors import AlreadyExists, AmbiguousName, Conflict, NotFound, StateError
from runengine.store.network_types import Network, Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.store.database import Database

_SELECT = "SELECT id, name, driver, device, created_at, settings FROM networks"
_FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6}
_HEX = frozenset("0123456789abcdef")


class Networks:
    """The tables ``networks`` and ``pools``."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connection

    def add(self, network: Network) -> None:
        """Write a network with its pools and its own addresses, in the caller's transaction.

        Raises AlreadyExists for the name, Conflict for the device or a subnet that is taken.
        """
        try:
            self._connection.execute(
                "INSERT INTO networks VALUES (?, ?, ?, ?, ?, ?)",
                (*network[:5], json.dumps(_settings(network))),
            )
            for pool in network.pools:
                self._connection.execute(
                    "INSERT INTO pools VALUES (?, ?, ?, NULL)",
                    (network.id, pool.family, pool.subnet),
                )
                self._connection.executemany(
                    "INSERT INTO leases VALUES (?, ?, NULL, ?)",
                    ((network.id, *owned) for owned in _own_addresses(pool)),
                )
        except sqlite3.IntegrityError as error:
            raise self._refusal(network, str(error)) from None

    def _refusal(self, network: Network, text: str) -> Conflict:
        if "networks.name" in text:
            return AlreadyExists(
                f"network with name {network.name} already exists",
                resolution="choose another name, or remove that one",
            )
        if "networks.device" in text:
            return Conflict(
                f"network {network.name}: the bridge {network.device} belongs to network"
                f" {self._having('device', network.device)}"
            )
        if "pools.subnet" in text:
            return Conflict(f"network {network.name}: a network has its subnet already")
        return Conflict(f"network {network.name}: two of its own addresses are the same")

    def _having(self, column: str, value: str) -> str:
        sql = f"SELECT name FROM networks WHERE {column} = ?"  # noqa: S608
        row = self._connection.execute(sql, (value,)).fetchone()
        return str(row[0]) if row else "unknown"

    def has(self, network_id: str) -> bool:
        """Whether there is a network with this full id."""
        row = self._connection.execute("SELECT 1 FROM networks WHERE id = ?", (network_id,))
        return row.fetchone() is not None

    def get(self, network_id: str) -> Network:
        """The network with this full id. Raises NotFound."""
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", (network_id,)).fetchone()
        if row is None:
            raise NotFound(f"network {network_id[:12]} not found")
        return _network(row)

    def find_id(self, name: str) -> str | None:
        """The id of the network with exactly this name."""
        row = self._connection.execute(
            "SELECT id FROM networks WHERE name = ?", (name,)
        ).fetchone()
        return str(row[0]) if row else None

    def ids(self, prefix: str = "") -> list[str]:
        """The id of every network, also of damaged records, that begins like this."""
        if not set(prefix) <= _HEX:
            return []
        sql = "SELECT id FROM networks WHERE id >= ? AND id < ?"
        return [row[0] for row in self._connection.execute(sql, (prefix, prefix + "g"))]

    def resolve(self, text: str) -> str:
        """Full id for an exact name, an exact id, or a unique prefix of one, in that order.

        Raises NotFound or AmbiguousName.
        """
        return self.find_id(text) or self.resolve_id(text)

    def resolve_id(self, prefix: str) -> str:
        """Full id for a unique prefix of one. Raises NotFound or AmbiguousName."""
        found = self.ids(prefix) if prefix else []
        if not found:
            raise NotFound(f"network {prefix} not found")
        if len(found) > 1:
            raise AmbiguousName(
                f"network {prefix} is ambiguous: {len(found)} networks have this prefix",
                resolution="give more digits of the id",
            )
        return found[0]

    def all(self, *, removing: bool = False) -> list[Network]:
        """Every network whose record is whole, by name; or those that are being removed."""
        found: list[Network] = []
        for row in self._connection.execute(f"{_SELECT} ORDER BY name").fetchall():
            with suppress(StateError):  # one that is damaged must not hide the others
                found.append(_network(row))
        return [network for network in found if network.removing == removing]

    def subnets(self) -> list[tuple[str, str]]:
        """Every subnet with the name of the network that has it."""
        rows = self._connection.execute(
            "SELECT subnet, name FROM pools JOIN networks ON id = network_id"
        )
        return [(row[0], row[1]) for row in rows]

    def set_removing(self, network: Network, *, removing: bool) -> None:
        """Mark a network whose links are going, in the caller's transaction."""
        self._connection.execute(
            "UPDATE networks SET settings = ? WHERE id = ?",
            (json.dumps(_settings(network._replace(removing=removing))), network.id),
        )

    def remove(self, network_id: str) -> None:
        """Forget a network and its own addresses, in the caller's transaction."""
        self._connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))


def _own_addresses(pool: Pool) -> Iterable[tuple[bytes, str]]:
    family = _FAMILIES[pool.family]
    if pool.gateway:
        yield _socket.inet_pton(family, pool.gateway), "gateway"
    for name, address in pool.aux.items():
        yield _socket.inet_pton(family, address), f"aux address {name}"


def _settings(network: Network) -> dict[str, Any]:
    values = network._asdict()
    return {key: values[key] for key in Network._fields[5:]} | {
        "pools": [pool._asdict() for pool in network.pools]
    }


def _network(row: tuple[Any, ...]) -> Network:
    """The network in a row. Raises StateError naming it if its document is damaged."""
    try:
        settings = json.loads(row[5])
        settings["pools"] = tuple(Pool(**pool) for pool in settings["pools"])
        return Network(*row[:5], **settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"the record of network {row[1]} ({row[0][:12]}) is damaged: {error}",
            resolution="the others are not touched by it; remove it with network rm -f",
        ) from None
