"""The store of layers."""

from __future__ import annotations

import os

import pytest

from runengine.errors import InvalidParameter, NotFound, StateError
from runengine.linux import libc
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


def test_a_durable_commit_syncs_before_the_layer_shows(store, monkeypatch):
    seen = []
    monkeypatch.setattr(libc, "syncfs", lambda _fd: seen.append(store.has(KEYS[0])))
    with store.stage() as staging:
        staging.commit(KEYS[0])
    assert seen == [False]
    assert store.info(KEYS[0]) == LayerInfo(0, store.size(KEYS[0]), 1, "")
