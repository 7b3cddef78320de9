"""Who is to be on which network, and who is: endpoints, the addresses and host ports they have.

A row of ``endpoints`` keeps the user's wishes for as long as the container is there. Its column
``reserved`` and the rows of ``leases`` and ``ports`` are one run's: ``release`` frees them.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import NotFound, StateError
from runengine.store.network_types import Port, ReservedEndpoint, WantedEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.store.database import Database

_SELECT = "SELECT container_id, network_id, wanted, reserved FROM endpoints"
_PORT_FIELDS = (
    "ports.container_id, ports.network_id, protocol, host_ip, first, container_ip,"
    " container_port, last - first + 1"
)
# Of a run, or known from the row's other columns.
_FOR_ONE_RUN = ("interface", "ports", "former", "former_mac")
_KEPT = tuple(f for f in WantedEndpoint._fields if f not in ("network", *_FOR_ONE_RUN))
_RESERVED = tuple(
    f
    for f in ReservedEndpoint._fields
    if f not in ("container_id", "network_id", "wanted", "ports")
)


class Holder(NamedTuple):
    """Who has something that can be had once."""

    container_id: str
    """Empty: the network itself."""
    use: str
    """What for, where that is not a container's own use."""


class PortHolder(NamedTuple):
    """Who has host ports that are wanted, and which of them."""

    container_id: str
    host_ip: str
    first: int
    last: int


_STALE = (
    "container_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM endpoints AS one"
    " WHERE one.container_id = {0}.container_id AND one.network_id = {0}.network_id"
    " AND one.reserved IS NOT NULL)"
)


class Endpoints:
    """The tables ``endpoints``, ``leases`` and ``ports``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    # Wishes

    def want(self, container_id: str, wanted: Iterable[WantedEndpoint]) -> None:
        """Keep wishes, whose ``network`` is an id. Raises NotFound if there is no container."""
        try:
            with self._database.write():
                self.keep_wishes(container_id, wanted)
        except sqlite3.IntegrityError:
            raise NotFound(f"No such container: {container_id[:12]}") from None

    def keep_wishes(self, container_id: str, wanted: Iterable[WantedEndpoint]) -> None:
        """Write the wishes, in the caller's transaction; new ones come behind those there are."""
        (last,) = self._connection.execute(
            "SELECT coalesce(max(position), 0) FROM endpoints WHERE container_id = ?",
            (container_id,),
        ).fetchone()
        self._connection.executemany(
            "INSERT INTO endpoints VALUES (?, ?, ?, ?, '', '', NULL)"
            " ON CONFLICT DO UPDATE SET wanted = excluded.wanted",
            [
                (container_id, wish.network, last + number, _wishes(wish))
                for number, wish in enumerate(wanted, 1)
            ],
        )

    def unwant(self, container_id: str, network_id: str) -> None:
        """Forget the wishes for a network; nothing happens where there are none."""
        with self._database.write():
            self._connection.execute(
                "DELETE FROM endpoints WHERE container_id = ? AND network_id = ?",
                (container_id, network_id),
            )

    def move_wishes(self, container_id: str, old_id: str, new_id: str) -> None:
        """Let the wishes for one network be for another: the one that has its name now."""
        with self._database.write():
            self._connection.execute(
                "UPDATE OR REPLACE endpoints SET network_id = ?"
                " WHERE container_id = ? AND network_id = ? AND reserved IS NULL",
                (new_id, container_id, old_id),
            )

    def wanted_of(self, container_id: str) -> list[WantedEndpoint]:
        """A container's wishes, in the order in which they came."""
        rows = self._connection.execute(
            f"{_SELECT} WHERE container_id = ? ORDER BY position", (container_id,)
        )
        return [_wanted(row) for row in rows]

    def linking_on(self, network_id: str) -> list[str]:
        """Ids of the containers that have links, wished for on a network that they are on now."""
        rows = self._connection.execute(
            "SELECT container_id FROM endpoints WHERE network_id = ? AND reserved IS NOT NULL"
            " AND json_valid(wanted) AND json_extract(wanted, '$.links') IS NOT NULL",
            (network_id,),
        )
        return [row[0] for row in rows]

    # All containers at once, for listings

    def networks_by_container(self) -> dict[str, list[str]]:
        """Names of the networks that each container is to be on, in the order of the wishes."""
        rows = self._connection.execute(
            "SELECT container_id, json_extract(wanted, '$.network_name') FROM endpoints"
            " WHERE json_valid(wanted) ORDER BY container_id, position"
        )
        found: dict[str, list[str]] = {}
        for container_id, name in rows:
            found.setdefault(container_id, []).append(name or "")
        return found

    def all_holders(self) -> set[str]:
        """Ids of the containers that have something reserved."""
        rows = self._connection.execute(
            "SELECT DISTINCT container_id FROM endpoints WHERE reserved IS NOT NULL"
        )
        return {row[0] for row in rows}

    def ports_by_container(self) -> dict[str, list[Port]]:
        """The host ports that each container has."""
        found: dict[str, list[Port]] = {}
        for container_id, _, *port in self._connection.execute(
            f"SELECT {_PORT_FIELDS} FROM ports ORDER BY protocol, host_ip, first"  # noqa: S608
        ):
            found.setdefault(container_id, []).append(Port(*port))
        return found

    # What a run has

    def of(self, container_id: str) -> list[ReservedEndpoint]:
        """What a container has reserved, in the order in which it was wanted."""
        return self._reserved(
            "endpoints.container_id = ? AND reserved IS NOT NULL ORDER BY position", container_id
        )

    def on(self, network_id: str, boot: str) -> list[ReservedEndpoint]:
        """What containers have reserved on a network since this boot."""
        where = "endpoints.network_id = ? AND boot = ? AND reserved IS NOT NULL"
        return self._reserved(where, network_id, boot)

    def of_boot(self, boot: str) -> list[ReservedEndpoint]:
        """What was reserved since this boot: the rest went with the kernel that had it."""
        return self._reserved("boot = ? AND reserved IS NOT NULL", boot)

    def _reserved(self, where: str, *values: str) -> list[ReservedEndpoint]:
        rows = self._connection.execute(f"{_SELECT} WHERE {where}", values).fetchall()
        if not rows:
            return []
        ports: dict[tuple[str, str], list[Port]] = {}
        for container_id, network_id, *port in self._connection.execute(
            f"SELECT {_PORT_FIELDS} FROM endpoints JOIN ports"  # noqa: S608
            " ON ports.container_id = endpoints.container_id"
            f" AND ports.network_id = endpoints.network_id WHERE {where}",
            values,
        ):
            ports.setdefault((container_id, network_id), []).append(Port(*port))
        found = []
        for row in rows:
            with suppress(StateError):  # one that is damaged must not hide the others
                found.append(_endpoint(row, tuple(ports.get((row[0], row[1]), ()))))
        return found

    def holders(self, network_id: str) -> list[str]:
        """Ids of the containers that have something on a network."""
        rows = self._connection.execute(
            "SELECT container_id FROM endpoints WHERE network_id = ? AND reserved IS NOT NULL",
            (network_id,),
        )
        return [row[0] for row in rows]

    def networks_in_use(self) -> set[str]:
        """Ids of the networks that a container is on or is to be on."""
        rows = self._connection.execute("SELECT DISTINCT network_id FROM endpoints")
        return {row[0] for row in rows}

    def save(self, endpoint: ReservedEndpoint, boot: str) -> None:
        """Write an endpoint down, its wishes kept already, in the caller's transaction."""
        values = endpoint._asdict()
        self._connection.execute(
            "UPDATE endpoints SET mac = ?, boot = ?, reserved = ?"
            " WHERE container_id = ? AND network_id = ?",
            (
                endpoint.mac,
                boot,
                json.dumps({key: values[key] for key in _RESERVED}),
                endpoint.container_id,
                endpoint.network_id,
            ),
        )

    def release(self, container_id: str, network_id: str | None = None) -> None:
        """Free what a run has, on one network or on all. Writes only if there is something."""
        if not self._has_any(container_id):
            return
        with self._database.write():
            self.clear(container_id, network_id)

    def _has_any(self, container_id: str) -> bool:
        return bool(
            self._connection.execute(
                "SELECT 1 FROM endpoints WHERE container_id = ? AND reserved IS NOT NULL",
                (container_id,),
            ).fetchone()
        )

    def clear(self, container_id: str, network_id: str | None = None) -> None:
        """Free what a run has, in the caller's transaction."""
        values = {"container": container_id, "network": network_id}
        for action in (
            "DELETE FROM leases",
            "DELETE FROM ports",
            "UPDATE endpoints SET mac = '', boot = '', reserved = NULL",
        ):
            self._connection.execute(
                f"{action} WHERE container_id = :container"
                " AND (:network IS NULL OR network_id = :network)",
                values,
            )

    def stale(self) -> list[tuple[str, str, str]]:
        """Addresses and host ports that no endpoint of their container has reserved.

        ``lease`` or ``port``, which one, and the container's id.
        """
        from ipaddress import ip_address

        leases = self._connection.execute(
            f"SELECT address, container_id FROM leases WHERE {_STALE.format('leases')}"  # noqa: S608
        )
        ports = self._connection.execute(
            "SELECT protocol, host_ip, first, last, container_id FROM ports"  # noqa: S608
            f" WHERE {_STALE.format('ports')}"
        )
        found = [("lease", str(ip_address(address)), owner) for address, owner in leases]
        for protocol, host_ip, first, last, owner in ports:
            row = str(first) if first == last else f"{first}-{last}"
            found.append(("port", f"{host_ip}:{row}/{protocol}", owner))
        return found

    def drop_stale(self) -> None:
        """Free them. Idempotent."""
        with self._database.write() as connection:
            for table in ("leases", "ports"):
                connection.execute(f"DELETE FROM {table} WHERE {_STALE.format(table)}")  # noqa: S608

    # Addresses, in the caller's transaction

    def lease(self, network_id: str, address: bytes, container_id: str) -> Holder | None:
        """Give an address to a container; who has it already, if anybody."""
        row = self._connection.execute(
            "SELECT container_id, use FROM leases WHERE network_id = ? AND address = ?",
            (network_id, address),
        ).fetchone()
        if row is not None:
            return Holder(row[0] or "", row[1])
        self._connection.execute(
            "INSERT INTO leases VALUES (?, ?, ?, '')", (network_id, address, container_id)
        )
        return None

    def leased(self, network_id: str, first: bytes, last: bytes) -> int:
        """How many addresses from the first to the last somebody has."""
        row = self._connection.execute(
            "SELECT count(*) FROM leases WHERE network_id = ? AND address BETWEEN ? AND ?"
            " AND length(address) = ?",
            (network_id, first, last, len(first)),
        ).fetchone()
        return int(row[0])

    def last_lease(self, network_id: str, family: int) -> bytes | None:
        """The address that was chosen last in a pool."""
        row = self._connection.execute(
            "SELECT last FROM pools WHERE network_id = ? AND family = ?", (network_id, family)
        ).fetchone()
        return row[0] if row else None

    def note_last_lease(self, network_id: str, family: int, address: bytes) -> None:
        """Note the address that was chosen last."""
        self._connection.execute(
            "UPDATE pools SET last = ? WHERE network_id = ? AND family = ?",
            (address, network_id, family),
        )

    def mac_holder(self, network_id: str, mac: str) -> str | None:
        """Id of the container that has this MAC on a network."""
        row = self._connection.execute(
            "SELECT container_id FROM endpoints WHERE network_id = ? AND mac = ?",
            (network_id, mac),
        ).fetchone()
        return row[0] if row else None

    # Host ports, in the caller's transaction

    def port_holder(
        self, protocol: str, host_ip: str, first: int, last: int
    ) -> PortHolder | None:
        """A container that has one of these host ports.

        All rows of one address are disjoint, so only that with the highest first port that is
        not behind ours can meet ours.
        """
        for address in self._rivals(protocol, host_ip):
            row = self._connection.execute(
                "SELECT container_id, host_ip, first, last FROM ports"
                " WHERE protocol = ? AND host_ip = ? AND first <= ? ORDER BY first DESC LIMIT 1",
                (protocol, address, last),
            ).fetchone()
            if row is not None and row[3] >= first:
                return PortHolder(*row)
        return None

    def _rivals(self, protocol: str, host_ip: str) -> Iterator[str]:
        """The addresses whose ports a host address shares: all of its family for 0.0.0.0, ::."""
        every = "::" if ":" in host_ip else "0.0.0.0"  # noqa: S104
        if host_ip != every:
            yield from (host_ip, every)
            return
        found = ""
        while True:
            (found,) = self._connection.execute(
                "SELECT min(host_ip) FROM ports WHERE protocol = ? AND host_ip > ?",
                (protocol, found),
            ).fetchone()
            if found is None:
                return
            if (":" in found) == (":" in every):
                yield found

    def add_ports(self, container_id: str, network_id: str, ports: Sequence[Port]) -> None:
        """Write down host ports that nobody has."""
        self._connection.executemany(
            "INSERT INTO ports VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    port.protocol,
                    port.host_ip,
                    port.host_port,
                    port.host_port + port.count - 1,
                    container_id,
                    network_id,
                    port.container_ip,
                    port.container_port,
                )
                for port in ports
            ],
        )


    def move_ports(self, old: ReservedEndpoint, new: ReservedEndpoint) -> None:
        """Let a container's host ports lead to its endpoint on another network.

        Those of a family that it has no address of there stay where they are.
        """
        with self._database.write():
            for is_six, address in ((0, new.ip), (1, new.ip6)):
                if address:
                    self._connection.execute(
                        "UPDATE ports SET network_id = ?, container_ip = ? WHERE container_id = ?"
                        " AND network_id = ? AND (instr(host_ip, ':') > 0) = ?",
                        (new.network_id, address, old.container_id, old.network_id, is_six),
                    )


def _wishes(wanted: WantedEndpoint) -> str:
    values = wanted._asdict()
    return json.dumps({key: values[key] for key in _KEPT if values[key]})


def _wanted(row: Sequence[Any]) -> WantedEndpoint:
    """The wishes in a row. Raises StateError naming the container whose record is damaged."""
    try:
        values = json.loads(row[2])
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return WantedEndpoint(row[1], **values | lists)
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(row, error) from None


def _endpoint(row: Sequence[Any], ports: tuple[Port, ...]) -> ReservedEndpoint:
    wanted = _wanted(row)
    try:
        return ReservedEndpoint(
            row[0], row[1], **json.loads(row[3]), wanted=wanted, ports=ports
        )
    except (TypeError, ValueError) as error:
        raise _damaged(row, error) from None


def _damaged(row: Sequence[Any], error: Exception) -> StateError:
    return StateError(
        f"the networks of container {row[0][:12]} are damaged in the database: {error}",
        resolution="the others are not touched by it; remove it with rm -f",
    )
