"""Checkpoints with a runtime that is a fake: what is refused, kept, undone and found again."""

from __future__ import annotations

import fcntl
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runengine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    RuntimeFailed,
    Unavailable,
    Unsupported,
)
from runengine.mgr.container import checkpoint, checkpoint_restore, policy
from runengine.mgr.container import checkpoint_places as places
from runengine.mgr.container.checkpoint import Request
from runengine.mgr.container.checkpoint_restore import Wanted
from runengine.runtime import criu
from tests.support.documents import changed

if TYPE_CHECKING:
    from pathlib import Path

LOG = (
    "(00.1) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Not permitted\n"
    "(00.2) Error (criu/sk-inet.c:10): inet: Connected TCP socket, consider using"
    " --tcp-established option.\n"
    "(00.3) Error (criu/cr-dump.c:20): Dumping FAILED.\n"
)


class FakeRuntime:
    """Writes what CRIU writes, or fails after its log."""

    def __init__(self):
        self.options = []
        self.fails = False

    def checkpoint(self, container_id, images, options, *, settings, holding):
        self.options = options
        assert os.fstat(holding).st_ino == os.stat(images).st_ino
        assert os.path.isfile(settings)
        log = LOG if self.fails else ""
        for name, text in (("dump.log", log), ("inventory.img", "x"), ("pstree.img", "x")):
            with open(f"{images}/{name}", "w") as file:
                file.write(text)
        if self.fails:
            raise RuntimeFailed(f"criu failed: type NOTIFY errno 0\nlog file: {images}/dump.log")
        with open(f"{images}/stats-dump", "wb") as file:
            file.write(b"counted")


@pytest.fixture
def runtime(monkeypatch):
    """A host with CRIU whose containers live as their records say."""
    made = FakeRuntime()
    monkeypatch.setattr(checkpoint, "runtime_of", lambda *_: made)
    monkeypatch.setattr(checkpoint, "settle", lambda _, record: record.state)
    monkeypatch.setattr(checkpoint, "finish", lambda *_: None)
    monkeypatch.setattr(criu, "require", lambda: None)
    return made


@pytest.fixture
def web(add, runtime):
    """A running container that is always to run."""
    return add(
        "web",
        Status="running",
        Pid=os.getpid(),
        host={"RestartPolicy": policy.parse("always")},
    )


def folder(context, record) -> str:
    return places.folder(context, record.id)


def entries(context, record) -> list[str]:
    path = folder(context, record)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


# Making one


def test_a_checkpoint_stops_the_container_for_good(context, web, runtime):
    context.store.containers.set_desired(web.id, policy.RUNNING)
    made = checkpoint.create_checkpoint(context, "web", Request("one"))
    assert made.directory == f"{folder(context, web)}/one"
    assert os.stat(made.directory).st_mode & 0o777 == 0o700
    with open(f"{made.directory}/config.json") as file:
        document = json.load(file)
    assert document.items() >= {"CheckpointName": "one", "ContainerID": web.id}.items()
    assert made.stats == b"counted"
    assert "--leave-running" not in runtime.options
    assert context.store.containers.get(web.id).desired == policy.STOPPED
    assert entries(context, web) == ["one"]


def test_one_that_is_left_running_is_to_run_on(context, web, runtime):
    context.store.containers.set_desired(web.id, policy.RUNNING)
    request = Request("one", leave_running=True, tcp_established=True, file_locks=True)
    made = checkpoint.create_checkpoint(context, "web", request)
    assert {"--leave-running", "--tcp-established", "--file-locks"} <= set(runtime.options)
    assert (made.note.tcp_established, made.note.file_locks) == (True, True)
    assert context.store.containers.get(web.id).desired == policy.RUNNING


def test_a_failure_leaves_nothing_and_says_why(context, web, runtime):
    context.store.containers.set_desired(web.id, policy.RUNNING)
    runtime.fails = True
    with pytest.raises(RuntimeFailed, match="Connected TCP socket") as caught:
        checkpoint.create_checkpoint(context, "web", Request("one"))
    assert caught.value.resolution == "use --tcp-established to keep the connections"
    assert "rlimit" not in str(caught.value)
    assert context.store.containers.get(web.id).desired == policy.RUNNING
    assert entries(context, web) == []


@pytest.mark.parametrize("status", ["created", "exited"])
def test_only_what_runs_has_processes(context, add, runtime, status):
    add("web", Status=status)
    with pytest.raises(Conflict, match=f"can not checkpoint from a {status} container"):
        checkpoint.create_checkpoint(context, "web", Request("one"))


def test_a_paused_one_may_be(context, add, runtime):
    web = add("web", Status="paused")
    checkpoint.create_checkpoint(context, "web", Request("one"))
    assert entries(context, web) == ["one"]


def test_what_cannot_come_back_is_not_stopped(context, add, runtime):
    web = add("web", Status="running")
    for refused in (
        web._replace(config={**web.config, "Tty": True}),
        web._replace(details={**web.details, "userns": {}}),
    ):
        with pytest.raises(Unsupported, match="cannot be checkpointed"):
            checkpoint.take(context, refused, Request("one"))
    assert entries(context, web) == []


def test_a_checkpoint_must_outlive_the_end(context, add, runtime, tmp_path: Path):
    add("web", Status="running", host={"AutoRemove": True})
    with pytest.raises(Conflict, match="--checkpoint-dir"):
        checkpoint.create_checkpoint(context, "web", Request("one"))
    for request in (Request("one", leave_running=True), Request("one", str(tmp_path / "kept"))):
        checkpoint.create_checkpoint(context, "web", request)
    assert (tmp_path / "kept/one/config.json").exists()


def test_a_name_is_taken_once(context, web, runtime):
    checkpoint.create_checkpoint(context, "web", Request("one", leave_running=True))
    with pytest.raises(AlreadyExists, match="checkpoint one is already exist"):
        checkpoint.create_checkpoint(context, "web", Request("one", leave_running=True))


def test_the_old_one_stays_until_the_new_one_is_whole(context, web, runtime):
    request = Request("one", leave_running=True, replacing=True)
    made = checkpoint.create_checkpoint(context, "web", request)
    (first,) = {os.stat(made.directory).st_ino}
    runtime.fails = True
    with pytest.raises(RuntimeFailed):
        checkpoint.create_checkpoint(context, "web", request)
    assert os.stat(made.directory).st_ino == first
    runtime.fails = False
    checkpoint.create_checkpoint(context, "web", request)
    assert os.stat(made.directory).st_ino != first
    assert entries(context, web) == ["one"]


def test_without_criu_it_is_named(monkeypatch, context, add):
    add("web", Status="running")
    monkeypatch.setattr(checkpoint, "settle", lambda _, record: record.state)
    monkeypatch.setattr("runengine.runtime.runc.find", absent)
    with pytest.raises(Unavailable, match="apt-get install criu"):
        checkpoint.create_checkpoint(context, "web", Request("one"))


def absent(program):
    raise Unavailable(f"{program} not found")


def test_the_network_namespace_is_found_again(context, web, runtime):
    """Who held it when the container was started has ended."""
    link = f"{context.state_dir(web.id)}/netns"
    os.makedirs(context.state_dir(web.id))
    os.symlink("/proc/1/fd/99", link)
    checkpoint.create_checkpoint(context, "web", Request("one", leave_running=True))
    assert os.readlink(link) == f"/proc/{os.getpid()}/ns/net"


def test_without_a_name_for_it_the_runtime_would_look_in_vain(context, add, runtime):
    add("web", Status="running", host={"NetworkMode": "net"})
    with pytest.raises(Conflict, match="restart it first"):
        checkpoint.create_checkpoint(context, "web", Request("one", leave_running=True))


# Names and places


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".one.part", "-a", "a b", "a" * 201]
)
def test_a_name_leads_nowhere_else(context, web, name):
    with pytest.raises(InvalidParameter):
        checkpoint.create_checkpoint(context, "web", Request(name))
    with pytest.raises(InvalidParameter):
        checkpoint.delete_checkpoint(context, "web", name)
    with pytest.raises(InvalidParameter):
        places.find(web, folder(context, web), name)


def test_in_a_shared_directory_only_own_ones_show(context, web, add, tmp_path: Path):
    add("other", Status="running")
    shared = str(tmp_path / "shared")
    for name, owner in (("b", "web"), ("a", "web"), ("c", "other")):
        checkpoint.create_checkpoint(context, owner, Request(name, shared, leave_running=True))
    (tmp_path / "shared/damaged").mkdir()
    (tmp_path / "shared/damaged/config.json").write_text("{")
    (tmp_path / "shared/led").symlink_to(tmp_path / "shared/a")
    assert checkpoint.list_checkpoints(context, "web", shared) == ["a", "b"]
    assert checkpoint.list_checkpoints(context, "other", shared) == ["c"]
    with pytest.raises(NotFound, match="checkpoint c is not exist for container web"):
        checkpoint.delete_checkpoint(context, "web", "c", shared)
    checkpoint.delete_checkpoint(context, "web", "a", shared)
    assert checkpoint.list_checkpoints(context, "web", shared) == ["b"]


def test_without_any_the_list_is_empty(context, web):
    assert checkpoint.list_checkpoints(context, "web") == []
    assert checkpoint.list_checkpoints(context, "web", "/nowhere/at/all") == []
    with pytest.raises(NotFound, match="No such container"):
        checkpoint.list_checkpoints(context, "nobody")
    with pytest.raises(NotFound, match="checkpoint one is not exist for container web"):
        checkpoint.delete_checkpoint(context, "web", "one")
    with pytest.raises(InvalidParameter, match="absolute"):
        checkpoint.list_checkpoints(context, "web", "relative")


# What a killed command leaves


def begun(context, record, name="one", *, whole=False) -> str:
    """A directory as a command leaves it that was killed."""
    directory = f"{folder(context, record)}/.{name}.part"
    os.makedirs(directory)
    with open(f"{directory}/config.json", "w") as file:
        json.dump({"CheckpointName": name, "ContainerID": record.id}, file)
    if whole:
        with open(f"{directory}/stats-dump", "w"):
            pass
    return directory


def test_a_whole_one_gets_its_name(context, web):
    begun(context, web, whole=True)
    begun(context, web, "two")
    checkpoint.create_checkpoint(context, "web", Request("three", leave_running=True))
    assert checkpoint.list_checkpoints(context, "web") == ["one", "three"]
    assert entries(context, web) == ["one", "three"]


def test_what_is_being_made_is_left_alone(context, web, add):
    directory = begun(context, web)
    fd = os.open(directory, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(Conflict, match="just being made"):
        checkpoint.create_checkpoint(context, "web", Request("one"))
    os.close(fd)
    places.sweep("f" * 64, folder(context, web))
    assert os.path.isdir(directory)
    checkpoint.create_checkpoint(context, "web", Request("one"))
    assert entries(context, web) == ["one"]


# Going on from one


def find(context, record, name="one", **wanted):
    return checkpoint_restore.find(context, record, Wanted(name, **wanted))


def test_the_monitor_is_told_what_to_restore(context, web):
    request = Request("one", leave_running=True, tcp_established=True)
    made = checkpoint.create_checkpoint(context, "web", request)
    job = find(context, web, file_locks=True).job(context, web, ())
    assert job["images"] == made.directory
    assert os.path.isdir(job["work"])
    assert {"--tcp-established", "--file-locks"} <= set(job["options"])


def test_another_container_of_the_image_may_go_on(context, web, add, tmp_path: Path):
    shared = str(tmp_path)
    checkpoint.create_checkpoint(context, "web", Request("one", shared))
    other = add("other")
    assert find(context, other, directory=shared).checkpoint.note.container_id == web.id
    stranger = other._replace(image_id="sha256:" + "7" * 64)
    with pytest.raises(Conflict, match="of another image"):
        find(context, stranger, directory=shared)


def test_what_is_not_there_is_named(context, web):
    with pytest.raises(NotFound, match="checkpoint one is not exist for container web"):
        find(context, web)
    with pytest.raises(Unsupported, match="terminal"):
        find(context, web._replace(config=changed(web.config, {"Tty": True})))


def test_connections_need_their_address(context, web, monkeypatch):
    endpoint = SimpleNamespace(network_name="net", ip="10.1.0.2", ip6="", mac="02:42:0a:01:00:02")
    networks = SimpleNamespace(endpoints_of=lambda _: [endpoint])
    there = context._replace(networks=networks)
    request = Request("one", leave_running=True, tcp_established=True)
    checkpoint.create_checkpoint(there, "web", request)
    kept = find(there, web)
    assert kept.checkpoint.note.addresses[0].ip == "10.1.0.2"
    kept.job(there, web, [endpoint])
    elsewhere = SimpleNamespace(ip="10.1.0.9", ip6="")
    with pytest.raises(Conflict, match=r"cannot have its address 10\.1\.0\.2 of network net"):
        kept.job(there, web, [elsewhere])
    find(there, web, ignore_addresses=True).job(there, web, [elsewhere])


def test_what_is_bound_is_named_by_where_it_is(tmp_path: Path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    mounts: list[dict[str, Any]] = [
        {"type": "bind", "source": str(tmp_path / "link"), "options": ["bind"]},
        {"type": "tmpfs", "source": "tmpfs"},
    ]
    checkpoint_restore.Revival.follow_links({"mounts": mounts})
    assert [mount["source"] for mount in mounts] == [str(tmp_path / "real"), "tmpfs"]


def test_a_failed_restore_says_why(context, web):
    checkpoint.create_checkpoint(context, "web", Request("one", leave_running=True))
    kept = find(context, web)
    work = kept.job(context, web, ())["work"]
    error = RuntimeFailed("criu failed: type RESTORE errno 17")
    assert kept.explained(context, web, error) is error
    with open(f"{work}/restore.log", "w") as file:
        file.write("(00.1)  5: Error (criu/files-reg.c:9): File x has bad size 3 (expect 2)\n")
    told = kept.explained(context, web, error)
    assert "File x has bad size" in str(told)
    assert told.resolution is not None


def test_a_note_is_read_as_it_was_written():
    address = places.Address("net", "10.1.0.2", mac="02:42:0a:01:00:02")
    note = places.Note("one", "f" * 64, "sha256:1", "now", (address,), tcp_established=True)
    assert places.Note.of_document(json.loads(json.dumps(note.to_document()))) == note
    bare = places.Note.of_document({"CheckpointName": "one", "ContainerID": "f" * 64})
    assert bare == places.Note("one", "f" * 64)
