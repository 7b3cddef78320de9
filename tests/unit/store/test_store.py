"""The store on a real SQLite file."""

import multiprocessing
import os
import sqlite3
from types import SimpleNamespace

import pytest

from runengine.errors import AlreadyExists, AmbiguousName, NotFound, StateError, Unavailable
from runengine.model import container_config, exec_config, host_config
from runengine.paths import Paths
from runengine.store.containers import Record, created_state
from runengine.store.database import LEFT_LOG_BYTES, MIGRATIONS, RESERVE_BYTES, Database
from runengine.store.execs import ExecRecord, ExecState
from runengine.store.store import Store
from tests.support.documents import changed


@pytest.fixture
def paths(tmp_path):
    return Paths(str(tmp_path / "root"), str(tmp_path / "state"))


@pytest.fixture
def store(paths):
    store = Store.open(paths)
    yield store
    store.close()


def record(identity, name, image="sha256:" + "0" * 64, **state):
    return Record(
        identity,
        name,
        image,
        "2026-01-01T00:00:00.000000000Z",
        container_config("busybox"),
        host_config(),
        {},
        ["aa"],
        changed(created_state(), state),
    )


A = "ab" + "1" * 62
B = "ab" + "2" * 62


def test_lookup_prefers_id_then_name_then_prefix(store):
    # B-04
    store.containers.add(record(A, "first"))
    store.containers.add(record(B, "ab1"))
    assert store.containers.resolve(A) == A
    assert store.containers.resolve("/first") == A
    assert store.containers.resolve("ab1") == B  # a name wins over the other's prefix
    assert store.containers.resolve("ab11") == A
    with pytest.raises(AmbiguousName, match="too many"):
        store.containers.resolve("ab")
    for text in ("", "nope", "ab%", "*", "AB"):
        with pytest.raises(NotFound):
            store.containers.resolve(text)


def test_half_made_records_are_not_found(store):
    # B-04
    store.containers.add(record(A, "first", Status="creating"))
    with pytest.raises(NotFound):
        store.containers.resolve("first")
    with pytest.raises(AlreadyExists):
        store.containers.add(record(B, "first"))


def test_name_and_id_are_reserved_together(store):
    # B-01, B-02
    store.containers.add(record(A, "one"))
    with pytest.raises(AlreadyExists, match="in use by container ab1"):
        store.containers.add(record(B, "one"))
    with pytest.raises(AlreadyExists, match="id"):
        store.containers.add(record(A, "two"))
    assert [row.name for row in store.containers.all()] == ["one"]


def test_rename(store):
    # E-48
    store.containers.add(record(A, "one"))
    store.containers.add(record(B, "two"))
    for taken in ("one", "two"):
        with pytest.raises(AlreadyExists):
            store.containers.rename(A, taken)
    store.containers.rename(A, "three")
    assert store.containers.resolve("three") == A
    store.containers.rename(B, "one")  # the old name is free at once


def test_state_of_a_removed_container_is_not_resurrected(store):
    # E-46
    store.containers.add(record(A, "one"))
    assert store.containers.set_state(A, created_state())
    assert store.containers.remove(A)
    assert not store.containers.remove(A)
    assert not store.containers.set_state(A, created_state())
    assert store.containers.all() == []


def test_execs_start_once_and_go_with_their_container(store):
    # F-12, F-13
    store.containers.add(record(A, "one"))
    state: ExecState = {"Status": "created", "Pid": 0, "ExitCode": None, "Error": ""}
    store.execs.add(ExecRecord("e" * 64, A, exec_config(["true"]), state))
    assert store.execs.claim("e" * 64)
    assert not store.execs.claim("e" * 64)
    assert store.execs.get("eee").state["Status"] == "running"
    store.containers.remove(A)
    with pytest.raises(NotFound):
        store.execs.get("e" * 64)


def test_image_names_move_and_images_stay(store):
    # N-25
    images = store.images
    for digit in "12":
        images.put_image(
            "sha256:" + digit * 64,
            "sha256:" + "f" * 64,
            config="{}",
            layers=[digit],
            size_bytes=1,
            media_type="",
        )
    assert images.set_name("docker.io/library/a:latest", "sha256:" + "1" * 64, "m1") is None
    assert images.set_name("docker.io/library/a:latest", "sha256:" + "2" * 64, "m2") == (
        "sha256:" + "1" * 64
    )
    assert images.find_ids("11") == ["sha256:" + "1" * 64]
    assert images.find_ids("sha256:2") == ["sha256:" + "2" * 64]
    assert images.names_of("sha256:" + "1" * 64) == []
    assert len(images.all()) == 2


def add_many(arguments):
    paths, worker = arguments
    store = Store.open(paths)
    taken = 0
    for number in range(25):
        own = f"{worker:02x}{number:02x}".ljust(64, "0")
        store.containers.add(record(own, f"w{worker}-{number}"))
        try:
            store.containers.add(record("ff" + own[:62], f"shared-{number}"))
        except AlreadyExists:
            taken += 1
    store.close()
    return taken


@pytest.mark.side_effects
def test_many_writers_never_meet_a_locked_database(paths):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        refused = pool.map(add_many, [(paths, worker) for worker in range(4)])
    assert sum(refused) == 75
    store = Store.open(paths)
    assert len(store.containers.all()) == 125
    store.close()


def test_who_holds_the_database_is_named(paths, store, monkeypatch):
    monkeypatch.setattr("runengine.store.database.BUSY_TIMEOUT_S", 0.01)
    other = Store.open(paths)
    name = f"(pid {os.getpid()})"
    with store.database.write(), pytest.raises(Unavailable) as caught, other.database.write():
        pass
    assert "state.db is locked: it is written by " in str(caught.value)
    assert name in str(caught.value)
    other.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_every_old_version_migrates(tmp_path, version):
    path = str(tmp_path / "state.db")
    connection = sqlite3.connect(path)
    for script in MIGRATIONS[:version]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    database = Database(path)
    assert database.connection.execute("SELECT count(*) FROM containers").fetchone() == (0,)
    database.close()


def test_a_newer_or_damaged_file_is_refused(tmp_path):
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=999")
    connection.close()
    with pytest.raises(StateError, match="newer"):
        Database(str(path))
    (tmp_path / "bad.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="damaged"):
        Database(str(tmp_path / "bad.db"))


def _add_and_leave(paths, identity, padding):
    store = Store.open(paths)
    store.containers.add(record(identity, identity, padding="x" * padding))
    store.database.leave()
    os._exit(0)


@pytest.mark.side_effects
@pytest.mark.parametrize(("padding", "stays"), [(0, True), (LEFT_LOG_BYTES, False)])
def test_a_process_that_ends_leaves_a_short_log_to_the_next(paths, padding, stays):
    for identity in (A, B):
        process = multiprocessing.get_context("fork").Process(
            target=_add_and_leave, args=(paths, identity, padding)
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        assert os.path.exists(f"{paths.database}-wal") == stays
    store = Store.open(paths)
    assert [row.id for row in store.containers.all()] == [A, B]
    store.close()
    assert not os.path.exists(f"{paths.database}-wal")


def test_a_reserve_is_kept_for_what_gives_room_back(paths, monkeypatch):
    """On a full disk a removal must be written down; what makes new objects gets none of it."""
    free = 1 << 30
    reserve = f"{paths.database}-reserve"

    def statvfs(_):
        return SimpleNamespace(f_bavail=free // 4096, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    store = Store.open(paths)
    assert os.stat(reserve).st_blocks * 512 >= RESERVE_BYTES
    free = 0
    store.containers.add(record(A, "one"))
    assert os.path.exists(reserve)
    assert store.containers.remove(A)
    assert not os.path.exists(reserve)
    free = RESERVE_BYTES
    store.containers.remove(A)
    assert not os.path.exists(reserve)
    free = 1 << 30
    store.containers.remove(A)
    assert os.path.exists(reserve)
    store.close()
