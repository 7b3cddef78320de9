"""Exec records: what was asked and how it ended. They go with their container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from runengine.errors import AmbiguousName, NotFound

if TYPE_CHECKING:
    from runengine.model import ExecConfig
    from runengine.store.database import Database


class ExecState(TypedDict):
    """Progress of one exec session."""

    Status: str  # created running exited
    Pid: int
    ExitCode: int | None
    Error: str


class ExecRecord(NamedTuple):
    """One exec session."""

    id: str
    container_id: str
    config: ExecConfig
    state: ExecState


class Execs:
    """The table ``execs``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    def add(self, record: ExecRecord) -> None:
        """Store a new exec."""
        with self._database.write(grows=True) as connection:
            connection.execute(
                "INSERT INTO execs VALUES (?, ?, ?, ?)",
                (
                    record.id,
                    record.container_id,
                    json.dumps(record.config),
                    json.dumps(record.state),
                ),
            )

    def get(self, text: str) -> ExecRecord:
        """The exec with this id or unique prefix. Raises NotFound or AmbiguousName."""
        rows = self._connection.execute(
            "SELECT id, container_id, config, state FROM execs WHERE id >= ? AND id < ? LIMIT 2",
            (text, text + "g"),
        ).fetchall()
        if not rows or not text:
            raise NotFound(f"exec process {text}: not found")
        if len(rows) > 1:
            raise AmbiguousName(f"exec process {text}: too many")
        return _exec(rows[0])

    def of(self, container_id: str) -> list[ExecRecord]:
        """Every exec of a container."""
        rows = self._connection.execute(
            "SELECT id, container_id, config, state FROM execs WHERE container_id = ?",
            (container_id,),
        )
        return [_exec(row) for row in rows]

    def set_state(self, exec_id: str, state: ExecState) -> None:
        """Write the state."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE execs SET state = ? WHERE id = ?", (json.dumps(state), exec_id)
            )

    def claim(self, exec_id: str) -> bool:
        """Mark a created exec as running; False if it was started before, by anyone."""
        with self._database.write() as connection:
            cursor = connection.execute(
                "UPDATE execs SET state = json_set(state, '$.Status', 'running')"
                " WHERE id = ? AND json_extract(state, '$.Status') = 'created'",
                (exec_id,),
            )
            return cursor.rowcount > 0

    def remove(self, exec_id: str) -> None:
        """Forget one exec."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM execs WHERE id = ?", (exec_id,))


def _exec(row: tuple[str, str, str, str]) -> ExecRecord:
    config = cast("ExecConfig", json.loads(row[2]))
    return ExecRecord(row[0], row[1], config, cast("ExecState", json.loads(row[3])))
