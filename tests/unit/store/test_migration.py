"""A database of every older schema, with what its version wrote in it."""

import json
import sqlite3

import pytest

from runengine.errors import StateError
from runengine.model import container_config, host_config
from runengine.paths import Paths
from runengine.store.containers import Restarts, created_state
from runengine.store.database import MIGRATIONS
from runengine.store.store import Store


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "root").mkdir()
    return Paths(str(tmp_path / "root"), str(tmp_path / "state"))


def write_version_1(paths, rows):
    """A database as schema 1 had it; ``rows``: name, status, StopRequested, text of the state."""
    connection = sqlite3.connect(paths.database)
    connection.executescript(MIGRATIONS[0])
    connection.execute("PRAGMA user_version=1")
    for number, (name, status, requested, text) in enumerate(rows):
        state = {**created_state(), "Status": status, "StopRequested": requested}
        connection.execute(
            "INSERT INTO containers VALUES (?, ?, 'sha256:0', '2026', ?, ?, '{}', '[]', ?, ?)",
            (
                f"{number:064x}",
                name,
                json.dumps(container_config("busybox")),
                json.dumps(host_config()),
                status,
                text or json.dumps(state),
            ),
        )
    connection.commit()
    connection.close()


def test_what_was_wanted_comes_out_of_the_state(paths):
    # USER-ASKS 22
    write_version_1(
        paths,
        [
            ("running", "running", False, ""),
            ("leaving", "running", True, ""),
            ("paused", "paused", False, ""),
            ("ended", "exited", False, ""),
            ("stopped", "exited", True, ""),
            ("fresh", "created", False, ""),
        ],
    )
    store = Store.open(paths)
    found = {record.name: record for record in store.containers.all()}
    assert {name: record.desired for name, record in found.items()} == {
        "running": "running",
        "leaving": "stopped",
        "paused": "running",
        "ended": "running",
        "stopped": "stopped",
        "fresh": "stopped",
    }
    assert {record.restarts for record in found.values()} == {Restarts(0, 0.0)}
    assert all("StopRequested" not in record.state for record in found.values())
    store.close()


def test_a_damaged_record_does_not_stop_the_migration(paths):
    write_version_1(
        paths, [("torn", "running", False, '{"Status": "run'), ("whole", "running", False, "")]
    )
    store = Store.open(paths)
    assert [record.name for record in store.containers.all()] == ["whole"]
    assert len(store.containers.ids()) == 2
    with pytest.raises(StateError, match=r"container torn .* is damaged"):
        store.containers.get(store.containers.resolve("torn"))
    store.close()


@pytest.mark.parametrize("column", ["config", "host_config", "details", "layers", "state"])
@pytest.mark.parametrize("text", ["", "{", "null", "3", '"x"'])
def test_one_damaged_record_hides_no_other(paths, column, text):
    write_version_1(paths, [("torn", "exited", False, ""), ("whole", "exited", False, "")])
    store = Store.open(paths)
    with store.database.write() as connection:
        connection.execute(f"UPDATE containers SET {column} = ? WHERE name = 'torn'", (text,))
    assert [record.name for record in store.containers.all()] == ["whole"]
    with pytest.raises(StateError, match="rm -f"):
        store.containers.get(store.containers.resolve("torn"))
    store.close()
