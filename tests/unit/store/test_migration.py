"""A database of every older schema, with what its version wrote in it."""

import json
import sqlite3

import pytest

from runengine.errors import StateError
from runengine.model import container_config, host_config
from runengine.paths import Paths
from runengine.store.containers import Restarts, created_state
from runengine.store.database import MIGRATIONS
from runengine.store.network_types import Network, Pool, WantedEndpoint
from runengine.store.store import Store
from runengine.store.volumes import Volume


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


def write_version_2(paths, names):
    """A database as schema 2 had it: containers that know of no network but their mode."""
    connection = sqlite3.connect(paths.database)
    connection.executescript(";".join(MIGRATIONS[:2]))
    connection.execute("PRAGMA user_version=2")
    for number, name in enumerate(names):
        connection.execute(
            "INSERT INTO containers VALUES (?, ?, 'sha256:0', '2026', ?, ?, '{}', '[]', 'created',"
            " ?, 'stopped', 0, 0)",
            (
                f"{number:064x}",
                name,
                json.dumps(container_config("busybox")),
                json.dumps(host_config() | {"NetworkMode": "none"}),
                json.dumps(created_state()),
            ),
        )
    connection.commit()
    connection.close()


def write_version_3(paths, name):
    """A database as schema 3 had it: a container that is to be on a network."""
    write_version_2(paths, [name])
    connection = sqlite3.connect(paths.database)
    connection.executescript(MIGRATIONS[2])
    connection.execute("PRAGMA user_version=3")
    connection.execute(
        "INSERT INTO endpoints VALUES (?, ?, 0, '{}', '', '', NULL)", (f"{0:064x}", "a" * 64)
    )
    connection.commit()
    connection.close()


def write_old(paths, version):
    if version == 1:
        write_version_1(paths, [("old", "created", False, "")])
    elif version == 2:
        write_version_2(paths, ["old"])
    else:
        write_version_3(paths, "old")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_containers_of_before_can_have_volumes(paths, version):
    write_old(paths, version)
    store = Store.open(paths)
    identity = store.containers.resolve("old")
    with store.database.write():
        store.volumes.add(Volume("data", "local", "2026"))
        store.volumes.use(identity, "data", anonymous=False)
    store.close()
    again = Store.open(paths)
    assert again.volumes.users("data") == [identity]
    again.containers.remove(identity)
    assert again.volumes.users("data") == []
    again.close()


@pytest.mark.parametrize("version", [1, 2])
def test_containers_of_before_can_be_on_networks(paths, version):
    write_old(paths, version)
    store = Store.open(paths)
    identity = store.containers.resolve("old")
    with store.database.write():
        store.networks.add(
            Network("a" * 64, "net", "bridge", "br-net", "2026", (Pool("10.0.0.0/24"),))
        )
    assert store.endpoints.wanted_of(identity) == []
    store.endpoints.want(identity, [WantedEndpoint("a" * 64, "net")])
    with store.database.write():
        assert store.endpoints.lease("a" * 64, b"\x0a\0\0\2", identity) is None
    store.close()
    again = Store.open(paths)
    assert [wish.network_name for wish in again.endpoints.wanted_of(identity)] == ["net"]
    again.containers.remove(identity)
    assert again.endpoints.networks_in_use() == set()
    again.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_every_schema_becomes_the_newest(paths, version):
    connection = sqlite3.connect(paths.database)
    connection.executescript(";".join(MIGRATIONS[:version]))
    connection.execute(f"PRAGMA user_version={version}")
    connection.commit()
    connection.close()
    Store.open(paths).close()
    fresh = Paths(f"{paths.root}/fresh", paths.state)
    Store.open(fresh).close()
    assert schema_of(paths) == schema_of(fresh)


def schema_of(paths):
    connection = sqlite3.connect(paths.database)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return sorted(map(str, rows)), version


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
