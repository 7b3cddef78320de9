"""The store of layers."""

from __future__ import annotations

import errno
import os

import pytest

from runengine.errors import InvalidParameter, NotFound, StateError
from runengine.linux import fsatomic, libc
from runengine.rootfs.layers import LayerInfo, LayerStore

KEYS = [digit * 64 for digit in "abc"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store."""
    monkeypatch.setattr(libc, "syncfs", lambda _fd: None)
    return LayerStore(str(tmp_path / "layers"))


def add(store: LayerStore, key: str, content: bytes = b"x" * 5000) -> bool:
    with store.stage() as staging:
        with open(f"{staging.diff}/file", "wb") as file:
            file.write(content)
        return staging.commit(key, tar_bytes=len(content), blob=f"sha256:{key}", durable=False)


def test_a_committed_layer_is_found(store):
    assert store.keys() == []
    assert not store.has(KEYS[0])
    assert add(store, KEYS[0])
    assert store.has(KEYS[0])
    assert store.keys() == [KEYS[0]]
    assert os.listdir(store.path(KEYS[0])) == ["file"]
    info = store.info(KEYS[0])
    assert (info.tar_bytes, info.inodes, info.blob) == (5000, 2, f"sha256:{KEYS[0]}")
    assert store.size(KEYS[0]) == info.size_bytes >= 5000
    assert os.listdir(store.staging) == []


def test_the_store_is_closed_to_others(store):
    add(store, KEYS[0])
    assert os.stat(store.root).st_mode & 0o777 == 0o700
    # The layer's root is the image's and must be open.
    assert os.stat(store.path(KEYS[0])).st_mode & 0o777 == 0o755


def test_the_second_to_commit_gives_way(store):
    assert add(store, KEYS[0], b"first")
    assert not add(store, KEYS[0], b"second")
    with open(f"{store.path(KEYS[0])}/file", "rb") as file:
        assert file.read() == b"first"
    assert os.listdir(store.staging) == []


def test_what_is_not_committed_is_gone(store):
    with store.stage() as staging:
        os.mkdir(f"{staging.diff}/sub")
    with pytest.raises(FileNotFoundError), store.stage() as staging:
        os.rmdir(f"{staging.diff}/none")
    assert os.listdir(store.staging) == []
    assert store.keys() == []


def test_removing(store):
    add(store, KEYS[0])
    assert store.remove(KEYS[0]) >= 5000
    assert not store.has(KEYS[0])
    assert os.listdir(store.root) == ["staging"]
    with pytest.raises(NotFound, match="No such layer"):
        store.remove(KEYS[0])
    with pytest.raises(NotFound, match="No such layer"):
        store.info(KEYS[0])


@pytest.mark.parametrize("key", ["", "..", "staging", "A" * 64, "a" * 63, "a" * 64 + "/x"])
def test_malformed_keys_never_become_paths(store, key):
    for method in (store.path, store.has, store.info, store.remove):
        with pytest.raises(InvalidParameter, match="invalid layer key"):
            method(key)


def test_sweeping_keeps_what_is_named(store):
    for key in KEYS:
        add(store, key)
    removed, freed = store.sweep({KEYS[1]})
    assert removed == [KEYS[0], KEYS[2]]
    assert freed >= 10_000
    assert store.keys() == [KEYS[1]]


def test_sweeping_takes_dead_stagings_and_leaves_live_ones(store):
    add(store, KEYS[0])
    dead = f"{store.staging}/dead"
    os.makedirs(f"{dead}/diff/deep")
    with open(f"{dead}/diff/file", "wb") as file:
        file.write(b"x" * 9000)
    open(f"{dead}.lock", "w").close()
    open(f"{store.staging}/only-a-lock.lock", "w").close()
    os.mkdir(f"{store.staging}/only-a-directory")
    with store.stage() as staging:
        assert store.sweep_staging() >= 9000
        assert os.path.isdir(staging.diff)
        assert sorted(os.listdir(store.staging)) == sorted(
            [os.path.basename(staging.directory), os.path.basename(staging.directory) + ".lock"]
        )


def test_an_empty_or_missing_store_can_be_swept(store):
    assert store.sweep(set()) == ([], 0)


def test_a_damaged_record_is_named(store):
    add(store, KEYS[0])
    for content in ("", "{", '{"other": 1}', "[]"):
        with open(f"{store.root}/{KEYS[0]}/layer.json", "w") as file:
            file.write(content)
        with pytest.raises(StateError, match=r"layer\.json is damaged"):
            store.info(KEYS[0])
    assert store.sweep(set()).removed == KEYS[:1]


@pytest.fixture
def steps(store, monkeypatch):
    """What is done for the disk's sake, and whether the layer is there then."""
    done = []
    monkeypatch.setattr(libc, "syncfs", lambda _fd: done.append(("all", store.has(KEYS[0]))))
    monkeypatch.setattr(
        fsatomic, "sync_directory", lambda path: done.append((path, store.has(KEYS[0])))
    )
    return done


def test_a_durable_commit_syncs_before_the_layer_shows_and_its_name_after(store, steps):
    with store.stage() as staging:
        staging.commit(KEYS[0])
    assert steps == [("all", False), (store.root, True)]
    assert store.info(KEYS[0]) == LayerInfo(0, store.size(KEYS[0]), 1, "")


def test_a_commit_that_the_disk_refuses_is_an_error_and_leaves_nothing(store, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        patch.setattr(fsatomic, "replace_json", lambda *_args, **_options: None)
        with pytest.raises(OSError, match="No space left"):
            add(store, KEYS[0])
    assert not store.has(KEYS[0])
    assert os.listdir(store.staging) == []


def test_a_damaged_layer_and_the_new_one_change_places_once_that_is_on_the_disk(
    store, steps, monkeypatch
):
    def exchange(one, other):
        steps.append(("exchange", True))
        os.rename(one, f"{one}-between")
        os.rename(other, one)
        os.rename(f"{one}-between", other)

    monkeypatch.setattr(libc, "exchange", exchange)
    add(store, KEYS[0], b"damaged")
    with store.stage() as staging:
        with open(f"{staging.diff}/file", "wb") as file:
            file.write(b"whole")
        staging.replace(KEYS[0], tar_bytes=5, blob="sha256:new")
    assert steps == [("all", True), ("exchange", True), (store.root, True)]
    with open(f"{store.path(KEYS[0])}/file", "rb") as found:
        assert found.read() == b"whole"
    assert (store.info(KEYS[0]).tar_bytes, store.info(KEYS[0]).blob) == (5, "sha256:new")
    assert os.listdir(store.staging) == []
