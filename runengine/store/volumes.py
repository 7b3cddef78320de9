"""Volume records: what was created, and which containers need it.

Who uses a volume is a question for the containers: each has a row for every volume that it
mounts, which the database deletes with the container. The volume's own record cannot go before.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import AlreadyExists, Conflict, NotFound, StateError

if TYPE_CHECKING:
    from collections.abc import Collection

    from runengine.store.database import Database

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
"""What Docker marks volumes with whose name nobody has chosen."""
CREATING, READY, REMOVING = "creating", "ready", "removing"
_SELECT = "SELECT name, driver, created_at, settings FROM volumes"


class Volume(NamedTuple):
    """A volume as stored."""

    name: str
    driver: str
    """``local``, ``tmpfs``, or the name of a plugin."""
    created_at: str
    """RFC 3339, UTC."""
    labels: dict[str, str] = {}  # noqa: RUF012
    options: dict[str, str] = {}  # noqa: RUF012
    """Of the driver, as the user gave them."""
    made_for: str = ""
    """The container whose creation made it; with a creation that fails it goes again."""
    scope: str = "local"
    """``global`` if its driver says that other hosts have it as well."""
    status: str = "ready"
    """``creating`` until what its driver needs is made, ``removing`` while that goes again. To all
    others it is there in between only."""

    @property
    def anonymous(self) -> bool:
        """Whether nobody has chosen its name."""
        return ANONYMOUS_LABEL in self.labels


class Volumes:
    """The tables ``volumes`` and ``volume_uses``."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connection

    def add(self, volume: Volume) -> None:
        """Write a volume, in the caller's transaction. Raises AlreadyExists for its name."""
        try:
            self._connection.execute(
                "INSERT INTO volumes VALUES (?, ?, ?, ?)",
                (*volume[:3], json.dumps(_settings(volume))),
            )
        except sqlite3.IntegrityError:
            raise AlreadyExists(
                f"volume {volume.name} already exists", resolution="choose another name"
            ) from None

    def find(self, name: str) -> Volume | None:
        """The volume with this name. Raises StateError if its record is damaged."""
        row = self._connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        return None if row is None else _volume(row)

    def get(self, name: str) -> Volume:
        """The volume with this name. Raises NotFound, StateError (damaged)."""
        found = self.find(name)
        if found is None or found.status != READY:
            raise NotFound(f"no such volume: {name}")
        return found

    def get_all(self, names: Collection[str]) -> dict[str, Volume]:
        """The volumes with these names. Raises NotFound, StateError (damaged)."""
        places = ", ".join("?" * len(names))
        sql = f"{_SELECT} WHERE name IN ({places})"
        found = [_volume(row) for row in self._connection.execute(sql, tuple(names))]
        ready = {volume.name: volume for volume in found if volume.status == READY}
        for name in names:
            if name not in ready:
                raise NotFound(f"no such volume: {name}")
        return ready

    def all(self, status: str | None = None) -> list[Volume]:
        """Every volume whose record is whole and has this status, or any, by name."""
        found: list[Volume] = []
        for row in self._connection.execute(f"{_SELECT} ORDER BY name").fetchall():
            with suppress(StateError):  # one that is damaged must not hide the others
                found.append(_volume(row))
        return [volume for volume in found if status in (None, volume.status)]

    def names(self) -> set[str]:
        """The name of every volume, also of damaged records."""
        return {row[0] for row in self._connection.execute("SELECT name FROM volumes")}

    def set_status(self, volume: Volume, status: str) -> None:
        """Write a volume's status, in the caller's transaction."""
        self._connection.execute(
            "UPDATE volumes SET settings = ? WHERE name = ?",
            (json.dumps(_settings(volume._replace(status=status))), volume.name),
        )

    def remove(self, name: str) -> None:
        """Forget a volume, in the caller's transaction. Raises Conflict if somebody uses it."""
        try:
            self._connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
        except sqlite3.IntegrityError:
            raise Conflict(f"remove {name}: volume is in use") from None

    # Uses

    def use(self, container_id: str, name: str, *, anonymous: bool) -> None:
        """Note that a container mounts a volume, in the caller's transaction. Idempotent."""
        self._connection.execute(
            "INSERT OR IGNORE INTO volume_uses VALUES (?, ?, ?)",
            (container_id, name, int(anonymous)),
        )

    def disuse(self, container_id: str, name: str) -> None:
        """Forget a use, in the caller's transaction. Idempotent."""
        self._connection.execute(
            "DELETE FROM volume_uses WHERE container_id = ? AND volume = ?", (container_id, name)
        )

    def users(self, name: str) -> list[str]:
        """Ids of the containers that mount a volume, running or not."""
        rows = self._connection.execute(
            "SELECT container_id FROM volume_uses WHERE volume = ?", (name,)
        )
        return [row[0] for row in rows]

    def use_counts(self) -> dict[str, int]:
        """How many containers mount each volume; those of nobody are left out."""
        return dict(
            self._connection.execute("SELECT volume, count(*) FROM volume_uses GROUP BY volume")
        )

    def used_by(self, container_id: str, *, only_anonymous: bool = False) -> list[str]:
        """Names of the volumes that a container mounts."""
        rows = self._connection.execute(
            "SELECT volume FROM volume_uses WHERE container_id = ? AND anonymous >= ?",
            (container_id, int(only_anonymous)),
        )
        return [row[0] for row in rows]

    def made_for(self, container_id: str) -> list[str]:
        """Names of the volumes that this container's creation has made."""
        return [volume.name for volume in self.all() if volume.made_for == container_id]


def _settings(volume: Volume) -> dict[str, Any]:
    values = volume._asdict()
    return {key: values[key] for key in Volume._fields[3:]}


def _volume(row: tuple[Any, ...]) -> Volume:
    """The volume in a row. Raises StateError naming it if its document is damaged."""
    try:
        return Volume(*row[:3], **json.loads(row[3]))
    except (TypeError, ValueError) as error:
        raise StateError(
            f"the record of volume {row[0]} is damaged: {error}",
            resolution="the others are not touched by it; remove it with volume rm -f",
        ) from None
