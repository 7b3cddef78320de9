"""``system check``: damage of each kind is found, told with a remedy, and repaired if possible."""

from __future__ import annotations

import os
import signal
import subprocess
from types import SimpleNamespace

import pytest

from runengine.cgroups import layout
from runengine.errors import EngineError
from runengine.linux import clock, locks, pidfd
from runengine.linux.mount import MountInfo
from runengine.mgr.check import (
    cgroups,
    containers,
    mounts,
    networks,
    processes,
    records,
    run,
    volumes,
)
from runengine.mgr.check.world import Difference, World
from runengine.store.network_types import Network
from runengine.store.volumes import READY, REMOVING, Volume

GONE = "f" * 64


@pytest.fixture
def world(context):
    return World(context)


def mounted(*targets, options=""):
    return [
        MountInfo(1, 1, "0:1", "/", target, "rw", (), "overlay", "overlay", options)
        for target in targets
    ]


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """The host's mounts, which are the test's to say; and what is unmounted."""
    monkeypatch.setattr(containers, "PATIENCE_S", 0.0)
    told = SimpleNamespace(mounts=[], unmounted=[])

    def unmount(target):
        told.unmounted.append(target)
        told.mounts = [entry for entry in told.mounts if entry.target != target]
        return True

    monkeypatch.setattr("runengine.linux.mount.mounts", lambda: told.mounts)
    monkeypatch.setattr("runengine.linux.mount.unmount", unmount)
    return told


def told(check, context):
    return [(one.kind, one.name, one.what) for one in check(World(context))]


def repair(check, context):
    """Do every repair; nothing may be left."""
    for one in check(World(context)):
        assert one.repair is not None
        one.repair()
    assert told(check, context) == []


@pytest.fixture
def make(context, add):
    """A container with its directories."""

    def make_one(name, **fields):
        record = add(name, **fields)
        os.makedirs(f"{context.data_dir(record.id)}/upper")
        os.makedirs(context.state_dir(record.id))
        with open(f"{context.state_dir(record.id)}/lock", "w", encoding="ascii"):
            return record

    return make_one


def running():
    return {
        "Status": "running", "Pid": os.getpid(), "StartTime": pidfd.start_time(os.getpid()),
        "BootId": clock.boot_id(),
    }  # fmt: skip


# The whole


def test_nothing_differs_on_a_new_engine(context, monkeypatch):
    monkeypatch.setattr(networks, "CHECKS", ())
    monkeypatch.setattr(run, "SECTIONS", [s for s in run.SECTIONS if s[0] != "Networks"])
    report = run.check(context, repair=False)
    assert (report.outcomes, report.is_clean) == ([], True)


def test_what_becomes_of_differences(context, monkeypatch):
    done = []

    def fail():
        raise EngineError("no")

    def one(_world):
        yield Difference("a", "1", "is off", "set it", lambda: done.append(1))
        yield Difference("b", "2", "is odd", "see to it")
        yield Difference("c", "3", "is bad", "mend it", fail)

    def broken(_world):
        yield Difference("d", "4", "is told all the same", "-")
        raise ValueError("the check has a fault")

    monkeypatch.setattr(run, "SECTIONS", (("One", (one, broken)), ("Two", (one,))))
    report = run.check(context, repair=False)
    assert {outcome.state for outcome in report.outcomes} == {"found"}
    assert not report.is_clean
    assert done == []
    report = run.check(context, repair=True)
    states = [(outcome.name, outcome.state, outcome.error) for outcome in report.outcomes]
    assert states[:3] == [("1", "repaired", ""), ("2", "found", ""), ("3", "failed", "no")]
    assert states[4] == ("broken", "found", "")
    assert "cannot look: the check has a fault" in report.outcomes[4].what
    assert done == [1, 1]
    document = run.document(report)
    assert (document["Clean"], len(document["Differences"])) == (False, 8)
    assert document["Differences"][0]["Section"] == "One"


def test_recovery_tells_only_what_it_could_not_do(context, monkeypatch):
    def fail():
        raise EngineError("no")

    def one(_world):
        yield Difference("a", "1", "is off", "set it", lambda: None)
        yield Difference("b", "2", "is odd", "see to it")
        yield Difference("c", "3", "is bad", "mend it", fail)

    monkeypatch.setattr(run, "RECOVERED", ("One",))
    monkeypatch.setattr(run, "SECTIONS", (("One", (one,)), ("Two", (one,))))
    assert run.recover(context) == ["c 3: no"]


# Records


def test_damaged_records(context, make):
    record = make("box")
    context.store.database.connection.execute(
        "UPDATE containers SET config = '{' WHERE id = ?", (record.id,)
    )
    (found,) = records.containers(World(context))
    assert (found.name, found.repair) == (record.id[:12], None)
    assert "rm -f" in found.remedy
    assert told(records.database, context) == []


def test_references_to_nothing(context, make):
    record = make("box")
    connection = context.store.database.connection
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(
        "INSERT INTO ports VALUES ('tcp', '0.0.0.0', 80, 80, 'x', 'y', '10.0.0.2', 80)"
    )
    (found,) = records.database(World(context))
    assert "a row of ports refers to a row of containers that is not there" in found.what
    assert record.id in World(context).ids


def test_damaged_volume_records(context):
    with context.store.database.write() as connection:
        connection.execute("INSERT INTO volumes VALUES ('data', 'local', 'x', '{')")
    (found,) = records.volumes(World(context))
    assert (found.name, "rm -f data" in found.remedy) == ("data", True)


# Containers


def test_an_end_that_nobody_recorded(context, make):
    record = make("box", Status="running", Pid=4_000_000, StartTime=1, BootId=clock.boot_id())
    ((_, name, what),) = told(containers.ended, context)
    assert (name, what) == ("box", "it is recorded as running and has ended")
    repair(containers.ended, context)
    assert context.store.containers.get(record.id).state["Status"] == "exited"


def test_an_end_that_the_monitor_recorded_waits_for_whoever_looks_next(context, make):
    record = make("box", Status="running", Pid=4_000_000, StartTime=1, BootId=clock.boot_id())
    with open(f"{context.data_dir(record.id)}/exit.json", "w", encoding="ascii") as file:
        file.write('{"exit_code": 3}')
    assert told(containers.ended, context) == []


def test_what_an_ended_container_has_left(context, make, tmp_path, table):
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    record = make("box", Status="exited", details={"cgroup": {"memory": str(cgroup)}})
    merged = f"{context.data_dir(record.id)}/merged"
    table.mounts = mounted(merged, f"{context.state_dir(record.id)}/shm")
    ((_, _, what),) = told(containers.ended, context)
    for word in ("root mount", "shared memory mount", "control group"):
        assert f"its {word}" in what
    repair(containers.ended, context)
    assert merged in table.unmounted
    assert not cgroup.exists()


def test_a_creation_that_was_cut_short(context, make):
    record = make("box", Status="creating")
    ((_, _, what),) = told(containers.ended, context)
    assert what == "its creation was cut short"
    repair(containers.ended, context)
    assert context.find(record.id) is None
    assert not os.path.exists(context.data_dir(record.id))


def test_a_container_that_somebody_is_at_is_left_alone(context, make):
    record = make("box", Status="creating")
    with locks.locked(f"{context.state_dir(record.id)}/lock"):
        assert told(containers.ended, context) == []
    assert len(told(containers.ended, context)) == 1


def test_an_end_that_is_just_being_recorded_is_none(context, make, monkeypatch):
    record = make("box", Status="running", Pid=4_000_000, StartTime=1, BootId=clock.boot_id())

    def meanwhile(_seconds):
        state = {**record.state, "Status": "exited", "Pid": 0}
        context.store.containers.set_state(record.id, state)

    monkeypatch.setattr(containers, "PATIENCE_S", 30.0)
    monkeypatch.setattr("time.sleep", meanwhile)
    assert told(containers.ended, context) == []


def test_a_container_without_files(context, make):
    record = make("box", Status="exited")
    os.rmdir(f"{context.data_dir(record.id)}/upper")
    (found,) = containers.without_files(World(context))
    assert (found.name, found.repair) == ("box", None)


def test_files_without_a_container(context, table):
    os.makedirs(f"{context.data_dir(GONE)}/upper")
    os.makedirs(context.state_dir(GONE))
    table.mounts = mounted(f"{context.data_dir(GONE)}/merged", "/elsewhere")
    assert [kind for kind, _, _ in told(containers.files_without_record, context)] == ["files"]
    repair(containers.files_without_record, context)
    assert table.unmounted == [f"{context.data_dir(GONE)}/merged"]
    assert not os.path.exists(context.data_dir(GONE))
    assert not os.path.exists(context.state_dir(GONE))


def test_state_without_a_container(context):
    os.makedirs(context.state_dir(GONE))
    repair(containers.state_without_record, context)
    assert not os.path.exists(context.state_dir(GONE))


def test_a_container_without_monitor(context, make):
    record = make("box", **running())
    (found,) = containers.unwatched(World(context))
    assert (found.remedy, found.repair) == ("runengine restart box", None)
    assert told(containers.ended, context) == []
    with locks.locked(f"{context.state_dir(record.id)}/monitor.lock"):
        assert told(containers.unwatched, context) == []


# Processes


def test_monitors_are_known_by_their_locks(context, make):
    record = make("box", Status="exited")
    for one in (record.id, GONE):
        os.makedirs(context.state_dir(one), exist_ok=True)
    with locks.locked(f"{context.state_dir(record.id)}/monitor.lock"):
        assert processes.holders_of_locks(context.paths.state) == {os.getpid(): record.id}
        assert told(processes.monitors, context) == []
    with locks.locked(f"{context.state_dir(GONE)}/monitor.lock"):
        os.unlink(f"{context.state_dir(GONE)}/monitor.lock")
        ((kind, name, what),) = told(processes.monitors, context)
    assert (kind, name) == ("process", str(os.getpid()))
    assert GONE[:12] in what
    assert processes.holders_of_locks("/nowhere") == {}


@pytest.mark.side_effects
def test_a_monitor_of_nobody_that_stays_is_killed(context, monkeypatch):
    monkeypatch.setattr(processes, "END_TIMEOUT_S", 0.1)
    with subprocess.Popen(["sleep", "600"]) as monitor:
        monkeypatch.setattr(processes, "holders_of_locks", lambda _: {monitor.pid: GONE})
        repair(processes.monitors, context)
        assert monitor.wait(30) == -signal.SIGKILL


def test_what_the_runtime_knows_alone(context, monkeypatch):
    deleted = []

    class Runtime:
        def __init__(self, _argv):
            pass

        def delete(self, container_id, *, force):
            os.rmdir(f"{context.paths.runtime_root}/{container_id}")
            deleted.append((container_id, force))

    monkeypatch.setattr("runengine.runtime.runc.Runtime", Runtime)
    os.makedirs(f"{context.paths.runtime_root}/{GONE}")
    repair(processes.runtime_state, context)
    assert deleted == [(GONE, True)]
    assert not os.path.exists(context.state_dir(GONE))


# Mounts


def test_mounts_of_nobody(context, make, table):
    record = make("box", Status="exited")
    strays = [f"{context.data_dir(GONE)}/merged", f"{context.state_dir(GONE)}/shm"]
    table.mounts = mounted("/", *strays, f"{context.data_dir(record.id)}/shown")
    assert [name for _, name, _ in told(mounts.strays, context)] == strays[::-1]
    repair(mounts.strays, context)
    assert table.unmounted == strays[::-1]


def test_a_running_container_without_its_mount(context, make, table):
    record = make("box", **running())
    (found,) = mounts.missing(World(context))
    assert (found.repair, found.remedy) == (None, "runengine restart box")
    table.mounts = mounted(f"{context.data_dir(record.id)}/merged")
    assert told(mounts.missing, context) == []


def test_a_writable_layer_that_is_mounted_twice(context, make, table):
    record = make("box", Status="exited")
    upper = f"upperdir={context.data_dir(record.id)}/upper"
    table.mounts = mounted(f"{context.data_dir(record.id)}/merged", options=f"rw,{upper}")
    assert told(mounts.elsewhere, context) == []
    table.mounts += mounted("/mnt", options=f"rw,lowerdir=/x,{upper},workdir=/w")
    ((_, name, what),) = told(mounts.elsewhere, context)
    assert (name, upper[9:] in what) == ("/mnt", True)


def test_a_mount_inside_a_layer(context, table):
    table.mounts = mounted(f"{context.paths.layers}/{GONE}/diff/etc", f"{context.paths.layers}x")
    repair(mounts.below_layers, context)
    assert table.unmounted == [f"{context.paths.layers}/{GONE}/diff/etc"]


# Control groups


@pytest.fixture
def hierarchies(monkeypatch, tmp_path):
    """Two hierarchies; ``make(id)`` makes a container's group in both."""
    found = layout.Layout(1, {name: str(tmp_path / name) for name in ("cpu", "memory")},
                          frozenset({"cpu", "memory"}))  # fmt: skip
    monkeypatch.setattr(layout, "detect", lambda: found)

    def make_group(name):
        for mount in found.mounts.values():
            os.makedirs(f"{mount}/runengine/{name}/inner")

    return make_group


def test_groups_of_containers_that_this_engine_had(context, make, hierarchies):
    kept, other = make("box", Status="exited"), "e" * 64
    for name in (kept.id, other, GONE, "monitors"):
        hierarchies(name)
    context.events.container("destroy", kept._replace(id=GONE))
    assert [name for _, name, _ in told(cgroups.orphans, context)] == [GONE[:12]]
    repair(cgroups.orphans, context)
    assert set(cgroups.groups(World(context))) == {kept.id, other}


# Networks


@pytest.fixture
def network(context):
    made = Network("a" * 64, "net", "bridge", "br-aaa", "2026-01-01T00:00:00.000000000Z")
    with context.store.database.write():
        context.store.networks.add(made)
    return made


def test_addresses_and_ports_of_nobody(context, make, network):
    record = make("box", Status="exited")
    with context.store.database.write() as connection:
        connection.execute(
            "INSERT INTO leases VALUES (?, ?, ?, 'address')",
            (network.id, bytes([10, 7, 0, 2]), record.id),
        )
        connection.execute(
            "INSERT INTO leases VALUES (?, ?, NULL, 'gateway')", (network.id, bytes([10, 7, 0, 1]))
        )
        for first, last in ((80, 80), (90, 99)):
            connection.execute(
                "INSERT INTO ports VALUES ('tcp', '0.0.0.0', ?, ?, ?, ?, '10.7.0.2', 80)",
                (first, last, record.id, network.id),
            )
    found = told(networks.stale_reservations, context)
    assert [(kind, name) for kind, name, _ in found] == [
        ("lease", "10.7.0.2"), ("port", "0.0.0.0:80/tcp"), ("port", "0.0.0.0:90-99/tcp")
    ]  # fmt: skip
    repair(networks.stale_reservations, context)
    left = context.store.database.connection.execute("SELECT use FROM leases").fetchall()
    assert [row[0] for row in left] == ["gateway"]


def test_links_of_nobody(context, network, monkeypatch):
    plugged = ["ve0123456789ab", "eth7", "veth9"]
    monkeypatch.setattr("runengine.mgr.network.up.exists", lambda _device: True)
    monkeypatch.setattr("runengine.netns.plugging.plugged_into", lambda _device: plugged)
    monkeypatch.setattr("runengine.netns.endpoint.delete_host_end", plugged.remove)
    assert [name for _, name, _ in told(networks.stray_links, context)] == ["ve0123456789ab"]
    repair(networks.stray_links, context)
    assert plugged == ["eth7", "veth9"]


def test_names_of_networks_that_are_gone(context, network):
    from runengine.resolver import tables

    directory = World(context).networks.names_directory
    for one in (network.id, GONE):
        tables.write(directory, tables.Table(one, "net", (), ()))
    assert [name for _, name, _ in told(networks.names, context)] == [GONE[:12]]
    repair(networks.names, context)
    assert tables.ids(directory) == [network.id]


# Volumes


@pytest.fixture
def volume(context):
    made = Volume("data", "local", "2026-01-01T00:00:00.000000000Z", status=READY)
    with context.store.database.write():
        context.store.volumes.add(made)
    os.makedirs(f"{context.paths.root}/volumes/data/_data")
    return made


def test_volumes_and_their_directories(context, volume):
    assert told(volumes.without_data, context) == told(volumes.data_without_record, context) == []
    os.makedirs(f"{context.paths.root}/volumes/other/_data")
    (found,) = volumes.data_without_record(World(context))
    assert (found.name, found.repair) == ("other", None)
    os.rmdir(f"{context.paths.root}/volumes/data/_data")
    (found,) = volumes.without_data(World(context))
    assert (found.name, found.repair) == ("data", None)


def test_a_volume_whose_removal_was_cut_short(context, volume, monkeypatch):
    monkeypatch.setattr("runengine.mgr.volume.local_mount.unmount", lambda _target: None)
    with context.store.database.write():
        context.store.volumes.set_status(volume, REMOVING)
    directory = World(context).volumes.directory
    os.makedirs(directory, exist_ok=True)
    with locks.locked(f"{directory}/data.lock"):
        assert told(volumes.half_made, context) == []
    repair(volumes.half_made, context)
    assert context.store.volumes.names() == set()
    assert not os.path.exists(f"{context.paths.root}/volumes/data")


def test_a_volume_that_is_mounted_for_nobody(context, volume, table, monkeypatch):
    path = f"{context.paths.root}/volumes/data/_data"
    table.mounts = mounted(path)
    released = []

    class Driver:
        def path(self, _volume):
            return path

        def unmount(self, _volume, _container, *, last):
            released.append(last)
            table.mounts = []

    monkeypatch.setattr(volumes, "driver_of", lambda _context, _name: Driver())
    repair(volumes.left_mounted, context)
    assert released == [True]
