"""Sizes of writable layers (row S-05): when they are looked up, and when remembered."""

import os

import pytest

from runengine.mgr.container import sizes, snapshots
from runengine.rootfs.usage import Usage, disk_usage


@pytest.fixture
def record(context, add):
    """A container with directories; ``work/work`` is what overlayfs leaves behind."""
    record = add("box", image=context.images.add("busybox", []))
    data_dir = context.data_dir(record.id)
    for name in ("upper", "work/work", "merged"):
        os.makedirs(f"{data_dir}/{name}")
    os.makedirs(context.state_dir(record.id))
    return record


@pytest.fixture
def walks(monkeypatch):
    """Counts the walks."""
    found = []
    real = disk_usage

    def counted(path):
        found.append(path)
        return real(path)

    monkeypatch.setattr(sizes, "disk_usage", counted)
    return found


def upper(context, record):
    return f"{context.data_dir(record.id)}/upper"


def mount_again(context, record):
    """As overlayfs does it: the directory is made anew."""
    work = f"{context.data_dir(record.id)}/work/work"
    os.rename(work, f"{work}-old")
    os.mkdir(work)
    os.rmdir(f"{work}-old")


def test_links_count_once_and_directories_too(context, record):
    directory = upper(context, record)
    with open(f"{directory}/one", "wb") as file:
        file.write(b"x" * 100_000)
    os.link(f"{directory}/one", f"{directory}/two")
    found = sizes.writable_layer(context, record)
    assert found.inodes == 2
    assert 100_000 <= found.size_bytes < 200_000


def test_what_was_not_mounted_since_is_remembered(context, record, walks):
    first = sizes.writable_layer(context, record)
    assert sizes.writable_layer(context, record) == first
    assert len(walks) == 1
    open(f"{upper(context, record)}/new", "wb").close()
    mount_again(context, record)
    assert sizes.writable_layer(context, record).inodes == first.inodes + 1
    assert len(walks) == 2


def test_a_mounted_root_is_looked_at_each_time(context, record, walks, monkeypatch):
    monkeypatch.setattr("runengine.mgr.container.sizes.os.path.ismount", lambda _: True)
    for _ in range(2):
        sizes.writable_layer(context, record)
    assert len(walks) == 2
    assert os.listdir(context.state_dir(record.id)) == []


def test_a_mount_during_the_walk_is_not_remembered(context, record, monkeypatch):
    real = disk_usage

    def disturbed(path):
        mount_again(context, record)
        return real(path)

    monkeypatch.setattr(sizes, "disk_usage", disturbed)
    sizes.writable_layer(context, record)
    assert os.listdir(context.state_dir(record.id)) == []


def test_one_that_never_ran_is_remembered_until_it_does(context, record, walks):
    os.rmdir(f"{context.data_dir(record.id)}/work/work")
    sizes.writable_layer(context, record)
    sizes.writable_layer(context, record)
    assert len(walks) == 1
    os.mkdir(f"{context.data_dir(record.id)}/work/work")
    sizes.writable_layer(context, record)
    assert len(walks) == 2


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"stamp": 1}', b'{"size_bytes": "x"}'])
def test_a_damaged_note_is_no_note(context, record, walks, note):
    sizes.writable_layer(context, record)
    with open(f"{context.state_dir(record.id)}/usage.json", "wb") as file:
        file.write(note)
    assert sizes.writable_layer(context, record).inodes == 1
    assert len(walks) == 2


def test_directories_that_move_are_walked_again(context, record, monkeypatch):
    real, left = disk_usage, [OSError(116, "moved"), OSError(116, "moved")]

    def moving(path):
        if left:
            raise left.pop()
        return real(path)

    monkeypatch.setattr(sizes, "disk_usage", moving)
    assert sizes.writable_layer(context, record).inodes == 1


def test_what_cannot_be_had_is_minus_one_and_fails_nobody(context, record, monkeypatch):
    monkeypatch.setattr(sizes, "disk_usage", lambda _: (_ for _ in ()).throw(OSError(5, "bad")))
    assert sizes.writable_layer(context, record) == Usage(-1, -1)
    assert os.listdir(context.state_dir(record.id)) == []


def test_a_container_that_goes_meanwhile_leaves_nothing_behind(context, record, monkeypatch):
    import shutil

    real = disk_usage

    def removed(path):
        found = real(path)
        shutil.rmtree(context.state_dir(record.id))
        return found

    monkeypatch.setattr(sizes, "disk_usage", removed)
    sizes.writable_layer(context, record)
    assert not os.path.exists(context.state_dir(record.id))


def test_snapshots_of_layers_and_containers(context, record):  # S-01, S-04
    from runengine.rootfs.layers import LayerStore

    store = LayerStore(context.paths.layers)
    with store.stage() as staging:
        open(f"{staging.diff}/file", "wb").close()
        assert staging.commit("a" * 64, durable=False)
    layer, container = snapshots.list_snapshots(context)
    assert (layer.key, layer.kind, layer.inodes) == ("a" * 64, snapshots.COMMITTED, 2)
    assert (container.key, container.kind, container.inodes) == (record.id, snapshots.ACTIVE, 1)
    assert layer.timestamp_ns <= container.timestamp_ns
    with open(f"{store.directory('a' * 64)}/layer.json", "wb") as file:
        file.write(b"{")
    assert [one.key for one in snapshots.list_snapshots(context)] == [record.id]
