"""Volumes by their manager: made, shown, used and removed (rows P-01 to P-08)."""

import os
from pathlib import Path

import pytest

from runengine.errors import (
    Conflict,
    InvalidParameter,
    NotFound,
    StateError,
    Unavailable,
    Unsupported,
)
from runengine.mgr.volume import create as create_module
from runengine.mgr.volume import local, mounting, populate
from runengine.mgr.volume.request import volume_config
from runengine.store.journal import parse_block
from runengine.store.volumes import ANONYMOUS_LABEL, CREATING, REMOVING, Volume


@pytest.fixture
def volumes(context):
    return context.volumes


@pytest.fixture
def make(volumes):
    """Creates a volume; keywords are fields of its configuration."""

    def make_one(name="data", **fields):
        return volumes.create({**volume_config(name), **fields})

    return make_one


def place(context, name):
    return Path(context.paths.root, "volumes", name)


def events(context):
    with open(context.paths.journal, "rb") as file:
        found = parse_block(file.read())
        return [(one["Action"], one["Actor"]["ID"]) for one in found if one["Type"] == "volume"]


def write_record(context, name, **fields):
    with context.store.database.write():
        context.store.volumes.add(Volume(name, "local", "2026", **fields))


def test_a_volume_is_a_directory_for_everybody_to_read(context, volumes, make):  # P-02
    old = os.umask(0o077)
    try:
        volume = make(Labels={"a": "b"})
    finally:
        os.umask(old)
    data = place(context, "data") / "_data"
    assert (volume.name, volume.driver, volume.labels) == ("data", "local", {"a": "b"})
    assert data.stat().st_mode & 0o777 == 0o755
    assert volumes.path("data") == str(data)
    assert volumes.get("data").status == "ready"
    assert events(context) == [("create", "data")]


def test_without_a_name_it_is_anonymous(volumes):
    volume = volumes.create()
    assert len(volume.name) == 64
    assert volume.anonymous
    assert volumes.inspect(volume.name)["Labels"] == {ANONYMOUS_LABEL: ""}


def test_the_same_again_is_the_same_and_another_is_refused(make):  # P-02
    first = make(DriverOpts={"type": "tmpfs"}, Labels={"a": "1"})
    assert make(DriverOpts={"type": "tmpfs"}).labels == first.labels
    with pytest.raises(Conflict, match="other options"):
        make()
    with pytest.raises(Conflict, match="it exists with driver local"):
        make(Driver="tmpfs")


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"name": "../x"}, InvalidParameter, "invalid characters"),
        ({"Driver": "nobody"}, NotFound, "volume driver nobody not found"),
        ({"DriverOpts": {"colour": "red"}}, InvalidParameter, "invalid option: 'colour'"),
        ({"DriverOpts": {"mount": "/etc/passwd"}}, InvalidParameter, "mount path is not a dir"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(context, volumes, make, fields, error, words):
    with pytest.raises(error, match=words):
        make(**fields)
    assert volumes.list() == []
    assert context.store.volumes.names() == set()


def test_a_limit_that_the_filesystem_cannot_keep_is_refused(context, make, monkeypatch):
    def refuse(*_):
        raise Unsupported("no", details="no quota")

    monkeypatch.setattr("runengine.rootfs.quota.limit_directory", refuse)
    with pytest.raises(Unsupported, match=r"size= is not supported.*type=tmpfs"):
        make(DriverOpts={"size": "10m"})
    assert context.store.volumes.names() == set()
    assert not place(context, "data").exists()


def test_a_directory_that_cannot_be_made_is_named(context, make):
    Path(context.paths.root, "volumes").write_text("")
    with pytest.raises(Unavailable, match=r"cannot make volume data: .*/volumes"):
        make()
    assert context.store.volumes.names() == set()


def test_data_goes_with_its_volume_unless_it_is_elsewhere(context, volumes, make, tmp_path):
    make()
    Path(volumes.path("data"), "file").write_text("x")
    volumes.remove("data")
    assert not place(context, "data").exists()
    assert os.listdir(f"{context.paths.state}/volumes") == []
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("x")
    make(DriverOpts={"mount": str(own)})  # P-06
    assert volumes.path("data") == str(own)
    volumes.remove("data")
    assert (own / "file").read_text() == "x"
    assert events(context) == [("create", "data"), ("destroy", "data")] * 2


def test_what_is_not_there_is_an_error_unless_forced(volumes):  # P-03, P-06
    assert not volumes.exists("nope")
    for act in (volumes.get, volumes.inspect, volumes.path, volumes.remove):
        with pytest.raises(NotFound, match="no such volume: nope"):
            act("nope")
    volumes.remove("nope", force=True)


def test_a_volume_in_use_names_its_containers(context, volumes, make, add):  # P-05, P-06
    make()
    one, two = add("one"), add("two", Status="exited")
    for record in (one, two):
        volumes.attach("data", record.id)
        volumes.attach("data", record.id)
    with pytest.raises(Conflict, match=rf"in use by one \({one.id[:12]}\), two"):
        volumes.remove("data", force=True)
    volumes.detach("data", one.id)
    volumes.detach("data", one.id)
    context.store.containers.remove(two.id)
    assert volumes.users("data") == []
    volumes.remove("data")


def test_whose_container_is_over_is_asked_first(context, make, add):
    make()
    record = add("one")
    context.volumes.attach("data", record.id)
    own = context.volumes._context._replace(settle=context.store.containers.remove)
    from runengine.mgr.volume import removal

    removal.remove(own, "data")
    assert context.store.volumes.names() == set()


def test_a_creation_cut_short_is_completed_by_the_next(context, volumes, make):
    write_record(context, "data", status=CREATING)
    assert volumes.list() == []
    assert not volumes.exists("data")
    assert make().status == "ready"
    assert Path(volumes.path("data")).is_dir()


def test_a_removal_cut_short_is_completed_by_the_next(context, volumes, make):
    make(Labels={"old": ""})
    Path(volumes.path("data"), "file").write_text("x")
    with context.store.database.write():
        context.store.volumes.set_status(volumes.get("data"), REMOVING)
    assert not volumes.exists("data")
    assert make().labels == {}
    assert os.listdir(volumes.path("data")) == []
    with context.store.database.write():
        context.store.volumes.set_status(volumes.get("data"), REMOVING)
    volumes.prune()
    assert context.store.volumes.names() == set()


@pytest.mark.parametrize("force", [False, True])
def test_a_removal_that_fails_leaves_a_volume(volumes, make, monkeypatch, force):
    """By force, too: that is for plugins, which may be gone for good."""
    make()

    def fail(*_):
        raise Unavailable("busy")

    monkeypatch.setattr(local.LocalDriver, "remove", fail)
    with pytest.raises(Unavailable):
        volumes.remove("data", force=force)
    assert volumes.exists("data")


def test_nobody_gets_a_volume_whose_removal_was_killed(context, volumes, make, monkeypatch):
    make()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local.LocalDriver, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            volumes.remove("data")
    assert not volumes.exists("data")
    volumes.prune()
    assert context.store.volumes.names() == set()
    assert not place(context, "data").exists()


def test_notes_go_with_a_volume(volumes, make):
    """Of a copy cut short, above all: it would be done again, over what a new volume has."""
    make()
    notes = [
        Path(populate._note(volumes._context, "data")),
        Path(mounting._note(volumes._context, "data", "c" * 64)),
    ]
    for note in notes:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    volumes.remove("data")
    assert not any(note.exists() for note in notes)


def test_a_damaged_record_of_a_volume_in_use_stays(context, volumes, make, add):
    make()
    volumes.attach("data", add("one").id)
    with context.store.database.write() as connection:
        connection.execute("UPDATE volumes SET settings = '{'")
    with pytest.raises(Conflict, match="in use by one"):
        volumes.remove("data", force=True)
    assert (place(context, "data") / "_data").is_dir()


def test_a_damaged_record_goes_by_force(context, volumes, make):
    make()
    with context.store.database.write() as connection:
        connection.execute("UPDATE volumes SET settings = '{'")
    with pytest.raises(StateError, match="rm -f"):
        volumes.remove("data")
    assert volumes.list() == []
    volumes.remove("data", force=True)
    assert context.store.volumes.names() == set()
    assert not place(context, "data").exists()


def names(found):
    return [entry["Name"] for entry in found]


def test_filters_of_a_list(volumes, make, add):  # P-04
    make("alpha", Labels={"a": "1", "b": ""})
    make("beta", Driver="tmpfs", Labels={"a": "2"})
    anonymous = volumes.create().name
    record = add("one")
    volumes.attach("beta", record.id)
    for filters, expected in [
        ({"name": ["^al"]}, ["alpha"]),
        ({"driver": ["tmpfs"]}, ["beta"]),
        ({"driver": ["tmpfs", "local"], "name": ["(pha|eta)$"]}, ["alpha", "beta"]),
        ({"label": ["a"]}, ["alpha", "beta"]),
        ({"label": ["a=1", "b"]}, ["alpha"]),
        ({"dangling": ["false"]}, ["beta"]),
        ({"dangling": ["1"]}, sorted(["alpha", anonymous])),
    ]:
        assert names(volumes.list(filters)) == expected, filters
    for filters in ({"colour": ["red"]}, {"dangling": ["maybe"]}, {"name": ["["]}):
        with pytest.raises(InvalidParameter, match="filter"):
            volumes.list(filters)


def test_usage_tells_size_and_containers(volumes, make, add):
    make()
    Path(volumes.path("data"), "file").write_bytes(b"x" * 20000)
    make("elsewhere", DriverOpts={"type": "tmpfs"})
    volumes.attach("data", add("one").id)
    found = {entry["Name"]: entry["UsageData"] for entry in volumes.list(usage=True)}
    assert found["data"]["RefCount"] == 1
    assert 20000 <= found["data"]["Size"] < 60000
    assert found["elsewhere"] == {"Size": -1, "RefCount": 0}
    assert "UsageData" not in volumes.list()[0]


def test_a_prune_takes_anonymous_ones_that_nobody_uses(context, volumes, make, add):
    make("named")
    used, unused = volumes.create().name, volumes.create().name
    volumes.attach(used, add("one").id)
    Path(volumes.path(unused), "file").write_bytes(b"x" * 20000)
    done = volumes.prune()
    assert done.names == [unused]
    assert done.reclaimed_bytes >= 20000
    assert volumes.prune({"all": ["true"], "label!": ["x"]}).names == ["named"]
    assert names(volumes.list()) == [used]
    assert events(context)[-1] == ("prune", "")
    with pytest.raises(InvalidParameter, match="all label label!"):
        volumes.prune({"name": ["x"]})


def test_one_that_cannot_be_removed_keeps_no_other(volumes, make, monkeypatch):
    for name in ("one", "stays", "two"):
        make(name)
    remove = local.LocalDriver.remove

    def refuse_one(driver, volume):
        if volume.name == "stays":
            raise Unavailable("busy")
        remove(driver, volume)

    monkeypatch.setattr(local.LocalDriver, "remove", refuse_one)
    assert volumes.prune({"all": ["true"]}).names == ["one", "two"]
    assert names(volumes.list()) == ["stays"]


def test_what_keeps_a_volume_keeps_no_container(context, volumes, add, monkeypatch):
    """It goes with the next prune, whatever that is for: its data may be gone in part."""
    record = add("one")
    volumes.attach_all(record.id, [wish("anon", made_for=record.id)], ["anon"])

    def refuse(*_):
        raise Unavailable("busy")

    with monkeypatch.context() as patch:
        patch.setattr(local.LocalDriver, "remove", refuse)
        volumes.leave(record.id, anonymous=True, made=False)
    assert context.store.volumes.names() == {"anon"}
    assert not volumes.exists("anon")
    volumes.prune({"label": ["x"]})
    assert context.store.volumes.names() == set()


def wish(name, **fields):
    return Volume(name, "local", "2026", status=CREATING, **fields)


def test_containers_make_what_they_name_and_take_it_with_them(context, volumes, make, add):
    make("there")
    record, other = add("one"), add("two")
    wanted = [wish("there"), wish("new", made_for=record.id), wish("anon", made_for=record.id)]
    found = volumes.attach_all(record.id, wanted, ["anon"])
    assert [volume.name for volume in found] == ["there", "new", "anon"]
    assert Path(volumes.path("new")).is_dir()
    volumes.attach("anon", other.id)
    volumes.leave(record.id, anonymous=True, made=False)
    assert names(volumes.list()) == ["anon", "new", "there"]
    volumes.detach("anon", other.id)
    volumes.leave(record.id, anonymous=False, made=True)
    assert names(volumes.list()) == ["there"]


def test_a_volume_that_cannot_be_made_leaves_no_use(context, volumes, add):
    record = add("one")
    wanted = [wish("good", made_for=record.id), wish("bad", options={"type": "ext4"})]
    with pytest.raises(InvalidParameter, match="missing required option: 'device'"):
        volumes.attach_all(record.id, wanted)
    assert context.store.volumes.names() == set()


def test_of_several_that_are_made_all_go_when_one_cannot_be(
    context, volumes, add, monkeypatch
):
    record = add("one")
    real = local.LocalDriver.create

    def fail_for_bad(self, volume):
        if volume.name == "bad":
            raise Unavailable("full")
        real(self, volume)

    monkeypatch.setattr(local.LocalDriver, "create", fail_for_bad)
    wanted = [wish("good", made_for=record.id), wish("bad", made_for=record.id)]
    with pytest.raises(Unavailable, match="full"):
        volumes.attach_all(record.id, wanted)
    assert context.store.volumes.names() == {"good"}
    volumes.leave(record.id, anonymous=True, made=True)
    assert context.store.volumes.names() == set()


def test_a_container_may_name_what_is_there_but_not_another(volumes, make, add):
    make(DriverOpts={"type": "tmpfs"})
    record = add("one")
    volumes.attach_all(record.id, [wish("data")])
    for other in (wish("data", options={"type": "ramfs"}), wish("data")._replace(driver="tmpfs")):
        with pytest.raises(Conflict, match=r"must be unique|other options"):
            volumes.attach_all(record.id, [other])


def test_a_kill_between_record_and_directory_loses_nothing(context, volumes, add, monkeypatch):
    record = add("one", Status="creating")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(create_module, "_complete_or_forget", die)
    with pytest.raises(KeyboardInterrupt):
        volumes.attach_all(record.id, [wish("new", made_for=record.id)])
    assert context.store.volumes.users("new") == [record.id]
    volumes.leave(record.id, anonymous=False, made=True)
    assert context.store.volumes.names() == set()


def test_a_container_that_is_over_lets_go_by_the_volumes_own_lock(context, make, add):
    """Its anonymous volume goes with it while somebody else wants to remove the volume."""
    from runengine.mgr.volume import removal

    make()
    record = add("one")
    context.volumes.attach_all(record.id, [wish("data")], ["data"])

    def finish(container_id):
        context.volumes.leave(container_id, anonymous=True, made=False)
        context.store.containers.remove(container_id)

    own = context.volumes._context._replace(settle=finish)
    with pytest.raises(NotFound, match="no such volume: data"):
        removal.remove(own, "data")
    assert context.store.volumes.names() == set()


def test_a_prune_waits_for_nobody_who_makes_a_volume(context, volumes):
    write_record(context, "slow", status=CREATING)
    with volumes._context.locked("slow"):
        assert volumes.prune({"all": ["true"]}).names == []
    assert context.store.volumes.names() == {"slow"}
