"""Container records: identity and configuration, and the last known state.

``state`` is what the engine last wrote down; whether a container still runs is a question for the
kernel (``mgr.container.recover``).
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict, cast

from runengine.errors import AlreadyExists, AmbiguousName, NotFound, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.model import ContainerConfig, HostConfig
    from runengine.store.database import Database

NEVER = "0001-01-01T00:00:00Z"


class State(TypedDict):
    """Docker's ``State`` and what the engine needs beside it."""

    Status: str  # creating created running paused exited removing
    Pid: int  # init's pid, 0 when not running
    StartTime: int  # of that pid, clock ticks since boot: tells a reused pid
    BootId: str  # the boot that pid belongs to
    ExitCode: int | None  # None: it ended, and nobody saw with which code
    Signal: int | None
    OOMKilled: bool
    Error: str
    StartedAt: str
    FinishedAt: str
    RemoveVolumes: NotRequired[bool]  # while it is being removed: its anonymous ones go, too
    RanS: NotRequired[float | None]  # seconds, by a clock that nobody sets; None: nobody saw
    CpuNs: int | None  # account of the last run
    MemoryPeakBytes: int | None
    OOMKills: NotRequired[int | None]


def created_state() -> State:
    """State of a container that never ran."""
    return {
        "Status": "created",
        "Pid": 0,
        "StartTime": 0,
        "BootId": "",
        "ExitCode": 0,
        "Signal": None,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": NEVER,
        "FinishedAt": NEVER,
        "RanS": None,
        "CpuNs": None,
        "MemoryPeakBytes": None,
    }


class Restarts(NamedTuple):
    """How often a restart policy has started the container since its user did."""

    times: int = 0
    delay_s: float = 0.0  # the wait before the last of them


class Record(NamedTuple):
    """A container as stored. ``config`` has the image's settings merged in."""

    id: str
    name: str
    image_id: str
    created_at: str  # RFC 3339, UTC
    config: ContainerConfig
    host_config: HostConfig
    details: dict[str, Any]  # what create decided: log, hostname, cgroup path, mounts
    layers: list[str]  # layer keys, bottom first: they stay while the container does
    state: State
    desired: str = "stopped"  # what its user wants: running or stopped
    restarts: Restarts = Restarts()

    @property
    def status(self) -> str:
        """The stored status."""
        return self.state["Status"]


_SELECT = (
    "SELECT id, name, image_id, created_at, config, host_config, details, layers, state,"
    " desired, restarts, restart_delay_s FROM containers"
)


class Containers:
    """The table ``containers``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    def add(self, record: Record) -> None:
        """Reserve id and name together. Raises AlreadyExists, naming who has it."""
        try:
            with self._database.write(grows=True) as connection:
                connection.execute(
                    "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        record.id,
                        record.name,
                        record.image_id,
                        record.created_at,
                        json.dumps(record.config),
                        json.dumps(record.host_config),
                        json.dumps(record.details),
                        json.dumps(record.layers),
                        record.status,
                        json.dumps(record.state),
                        record.desired,
                        *record.restarts,
                    ),
                )
        except sqlite3.IntegrityError:
            self._refuse(record)

    def _refuse(self, record: Record) -> None:
        owner = self.id_of_name(record.name)
        if owner is None:
            raise AlreadyExists(f"container id {record.id} already existed")
        raise AlreadyExists(
            f'container name "{record.name}" already existed: in use by container {owner[:12]}',
            resolution="remove or rename that container, or choose another name",
        )

    def id_of_name(self, name: str) -> str | None:
        """Full id of the container with exactly this name."""
        row = self._connection.execute(
            "SELECT id FROM containers WHERE name = ?", (name,)
        ).fetchone()
        return str(row[0]) if row else None

    def resolve(self, text: str) -> str:
        """Full id for an exact id, an exact name, or a unique id prefix, in that order.

        Raises NotFound or AmbiguousName.
        """
        found = self._ids("id = ?", text) or self._ids("name = ?", text.removeprefix("/"))
        if not found and text and text.isalnum():
            found = self._ids("id >= ? AND id < ?", text, text + "g")
        if not found:
            raise NotFound(f"No such container: {text}")
        if len(found) > 1:
            raise AmbiguousName(
                f"container {text}: too many: {len(found)} containers have this prefix",
                resolution="give more digits of the id",
            )
        return found[0]

    def _ids(self, where: str, *values: str) -> list[str]:
        sql = f"SELECT id FROM containers WHERE {where} AND status != 'creating'"  # noqa: S608
        return self._ids_of(sql, *values)

    def get(self, container_id: str) -> Record:
        """The record with this full id. Raises NotFound."""
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", (container_id,)).fetchone()
        if row is None:
            raise NotFound(f"No such container: {container_id[:12]}")
        return _record(row)

    def all(self) -> list[Record]:
        """Every whole record, the newest first; half-made ones too. ``ids`` has all of them."""
        rows = self._connection.execute(f"{_SELECT} ORDER BY created_at DESC").fetchall()
        found = []
        known: dict[str, Any] = {}
        for row in rows:
            with suppress(StateError):  # one that is damaged must not hide the others
                found.append(_record(row, known))
        return found

    def ids(self) -> list[str]:
        """The id of every record, also of half-made and of damaged ones."""
        return self._ids_of("SELECT id FROM containers")

    def _ids_of(self, sql: str, *values: str) -> list[str]:
        return [row[0] for row in self._connection.execute(sql, values)]

    def set_state(self, container_id: str, state: State) -> bool:
        """Write the state; False if the record is gone (a removal won the race)."""
        return self.set_states([(container_id, state)]) > 0

    def set_states(self, states: Iterable[tuple[str, State]]) -> int:
        """Write several states in one transaction; returns how many records were there."""
        with self._database.write() as connection:
            return connection.executemany(
                "UPDATE containers SET state = ?, status = ? WHERE id = ?",
                [(json.dumps(state), state["Status"], owner) for owner, state in states],
            ).rowcount

    def set_desired(
        self, container_id: str, desired: str, restarts: Restarts | None = None
    ) -> None:
        """Write what the user wants, and how often the policy has acted since (if given)."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE containers SET desired = ? WHERE id = ?", (desired, container_id)
            )
            if restarts is not None:
                connection.execute(
                    "UPDATE containers SET restarts = ?, restart_delay_s = ? WHERE id = ?",
                    (*restarts, container_id),
                )

    def set_started(self, record: Record) -> bool:
        """Write state, desired state and restarts at once; False if the record is gone."""
        state = record.state
        with self._database.write() as connection:
            return connection.execute(
                "UPDATE containers SET state = ?, status = ?, desired = ?, restarts = ?,"
                " restart_delay_s = ? WHERE id = ?",
                (
                    json.dumps(state),
                    state["Status"],
                    record.desired,
                    *record.restarts,
                    record.id,
                ),
            ).rowcount > 0

    def set_configuration(self, record: Record) -> None:
        """Replace both sides of the configuration by the record's."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE containers SET config = ?, host_config = ? WHERE id = ?",
                (json.dumps(record.config), json.dumps(record.host_config), record.id),
            )

    def set_image(self, record: Record) -> None:
        """Replace what the container is made of by the record's, all at once."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE containers SET image_id = ?, config = ?, details = ?, layers = ?"
                " WHERE id = ?",
                (
                    record.image_id,
                    json.dumps(record.config),
                    json.dumps(record.details),
                    json.dumps(record.layers),
                    record.id,
                ),
            )

    def rename(self, container_id: str, name: str) -> None:
        """Change the name. Raises AlreadyExists if it is taken, even by this container."""
        owner = self.id_of_name(name)
        try:
            if owner is None:
                with self._database.write() as connection:
                    connection.execute(
                        "UPDATE containers SET name = ? WHERE id = ?", (name, container_id)
                    )
                return
        except sqlite3.IntegrityError:
            owner = self.id_of_name(name)
        raise AlreadyExists(
            f'container name "{name}" already existed: in use by container {(owner or "")[:12]}'
        )

    def set_details(self, container_id: str, details: dict[str, Any]) -> None:
        """Replace what create and start decided."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE containers SET details = ? WHERE id = ?",
                (json.dumps(details), container_id),
            )

    def remove(self, container_id: str) -> bool:
        """Forget the record; False if it was gone already."""
        with self._database.write() as connection:
            cursor = connection.execute("DELETE FROM containers WHERE id = ?", (container_id,))
            return cursor.rowcount > 0

    def details_with(self, key: str) -> list[Any]:
        """What every record's details have under ``key``, where they have it."""
        rows = self._connection.execute(
            "SELECT json_extract(details, ?) FROM containers"
            " WHERE CASE json_valid(details) WHEN 1 THEN json_type(details, ?) END IS NOT NULL",
            (f"$.{key}", f"$.{key}"),
        )
        return [json.loads(row[0]) for row in rows]

    def image_users(self, image_id: str) -> list[tuple[str, str, str]]:
        """``(id, name, status)`` of every container made from the image."""
        rows = self._connection.execute(
            "SELECT id, name, status FROM containers WHERE image_id = ?", (image_id,)
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def images_in_use(self) -> list[str]:
        """The image id of every container."""
        return [row[0] for row in self._connection.execute("SELECT image_id FROM containers")]

    def used_layers(self) -> set[str]:
        """Layer keys that containers stand on."""
        rows = self._connection.execute("SELECT layers FROM containers")
        try:
            return {key for row in rows for key in json.loads(row[0])}
        except ValueError as error:  # which layers it needs is not known, so none may go
            raise StateError(f"the record of a container is damaged: {error}") from None


def _check_shapes(objects: tuple[Any, ...], layers: Any) -> None:
    if not all(isinstance(part, dict) for part in objects) or not isinstance(layers, list):
        raise TypeError("a part of it has the wrong shape")


def _record(row: tuple[Any, ...], known: dict[str, Any] | None = None) -> Record:
    """The record in a row. Raises StateError naming the container whose documents are damaged.

    ``known`` has the documents of the rows before: most are alike, and are parsed once.
    """
    identity, name, image_id, created_at, *documents, desired, times, delay_s = row
    known = {} if known is None else known
    try:
        config, host, details, layers, state = (_parsed(text, known) for text in documents)
        _check_shapes((config, host, details, state), layers)
    except (TypeError, ValueError) as error:
        raise StateError(
            f"the record of container {name} ({identity[:12]}) is damaged: {error}",
            resolution="the others are not touched by it; remove it with rm -f",
        ) from None
    return Record(
        identity,
        name,
        image_id,
        created_at,
        cast("ContainerConfig", config),
        cast("HostConfig", host),
        details,
        layers,
        cast("State", state),
        desired,
        Restarts(times, delay_s),
    )


def _parsed(text: str, known: dict[str, Any]) -> Any:
    if text not in known:
        known[text] = json.loads(text)
    return known[text]
