"""The content store: whole or absent, and partials that can be taken up again."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import Corrupt, EngineError, InvalidParameter, NotFound, TimedOut
from runengine.linux import fsatomic, libc
from runengine.registry.content import ContentStore
from tests.support.layouts import digest_of

DATA = bytes(range(256)) * 64
DIGEST = digest_of(DATA)


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(str(tmp_path / "blobs"))


def files(store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*/*"))


def begin(store, upto, digest=DIGEST, size: int | None = len(DATA)) -> None:
    with store.writer(digest, size) as writer:
        writer.write(DATA[:upto])


def finish(store, data, size) -> None:
    with store.writer(DIGEST, size) as writer:
        writer.write(data)
        writer.commit()


def test_a_blob_is_stored_read_only_under_its_digest(store) -> None:
    assert store.put(DATA) == DIGEST
    assert store.has(DIGEST)
    assert store.digests() == {DIGEST}
    assert store.read(DIGEST, len(DATA)) == DATA
    assert store.size(DIGEST) == len(DATA)
    assert os.stat(store.path(DIGEST)).st_mode & 0o777 == 0o444
    assert files(store) == [f"sha256/{DIGEST[7:]}"]


def test_putting_twice_writes_once(store) -> None:
    store.put(DATA)
    before = os.stat(store.path(DIGEST))
    store.put(DATA)
    assert os.path.samestat(before, os.stat(store.path(DIGEST)))


@pytest.mark.parametrize("digest", ["", "sha256:../../etc", "sha256:" + "A" * 64, "md5:1"])
def test_a_bad_digest_never_becomes_a_path(store, digest) -> None:
    for call in (store.path, store.has, store.writer, store.partial_path, store.remove):
        with pytest.raises(InvalidParameter, match="invalid digest"):
            call(digest)


def test_who_hashes_a_blob_elsewhere_says_the_hash(store) -> None:
    digest = digest_of(b"content")
    with store.writer(digest, 7) as writer:
        writer.write(b"content", hashing=False)
        with pytest.raises(Corrupt, match="wrong content"):
            writer.commit(hashed=hashlib.sha256(b"other").hexdigest())
    with store.writer(digest, 7) as writer:
        writer.write(b"content", hashing=False)
        assert writer.commit(hashed=hashlib.sha256(b"content").hexdigest()) == digest
    assert store.read(digest, 7) == b"content"


@pytest.mark.parametrize("left", [b"", b"half", b"something longer than it was"])
def test_putting_replaces_what_a_crash_has_left(store, left) -> None:
    path = Path(store.path(store.put(b"content")))
    path.unlink()
    path.write_bytes(left)
    assert store.read(store.put(b"content", durable=False), 100) == b"content"


def test_what_is_missing_or_too_long_is_not_read(store) -> None:
    for call in (store.open, store.size):
        with pytest.raises(NotFound, match="no blob sha256:"):
            call(DIGEST)
    store.put(DATA)
    with pytest.raises(Corrupt, match="limit of 10"):
        store.read(DIGEST, 10)


def test_an_interrupted_blob_is_resumed_with_its_hash(store) -> None:
    begin(store, 1000)
    assert files(store) == [f"partial/{DIGEST[7:]}"]
    assert not store.has(DIGEST)
    with store.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 1000
        with writer.read_back() as beginning:
            assert beginning.read() == DATA[:1000]
        writer.write(DATA[1000:])
        writer.commit()
    assert files(store) == [f"sha256/{DIGEST[7:]}"]


def test_an_interruption_before_the_first_byte_leaves_nothing(store) -> None:
    begin(store, 0)
    assert files(store) == []


def test_a_writer_of_what_is_there_has_nothing_to_do(store) -> None:
    store.put(DATA)
    with store.writer(DIGEST, len(DATA)) as writer:
        assert (writer.is_complete, writer.offset) == (True, len(DATA))
        with writer.read_back() as whole:
            assert whole.read() == DATA
        assert writer.commit() == DIGEST
    assert files(store) == [f"sha256/{DIGEST[7:]}"]


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        (DATA[:-1], len(DATA), "instead of"),
        (DATA[:-1], None, "wrong content"),
        (DATA[:-1] + b"x", len(DATA), "wrong content"),
        (DATA + b"x", len(DATA), "longer than its size"),
        (DATA, len(DATA) + 1, "instead of"),
        (b"", 0, "wrong content"),
    ],
)
def test_wrong_content_is_refused_and_leaves_nothing(store, data, size, reason) -> None:
    with pytest.raises(Corrupt, match=reason):
        finish(store, data, size)
    assert files(store) == []


def test_a_partial_longer_than_the_blob_is_begun_anew(store) -> None:
    begin(store, 5000, size=None)
    with store.writer(DIGEST, 100) as writer:
        assert writer.offset == 0
        writer.discard()
    assert files(store) == []


def test_a_damaged_partial_fails_once_and_goes(store) -> None:
    begin(store, 1000)
    Path(store.partial_path(DIGEST)).write_bytes(b"\0" * 1000)
    with pytest.raises(Corrupt):
        finish(store, DATA[1000:], len(DATA))
    assert files(store) == []
    assert store.put(DATA) == DIGEST


def test_putting_ignores_a_damaged_partial(store) -> None:
    begin(store, 1000)
    Path(store.partial_path(DIGEST)).write_bytes(b"\0" * 1000)
    assert store.put(DATA) == DIGEST
    assert store.read(DIGEST, len(DATA)) == DATA


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(store, monkeypatch) -> None:
    """Not the beginning either, which takes the room that is lacking."""

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    with store.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:1000])
        monkeypatch.setattr(fsatomic, "write_all", full)
        with pytest.raises(EngineError, match=r"cannot store blob .*: No space.*free some space"):
            writer.write(DATA[1000:])
    assert files(store) == []


@pytest.mark.parametrize("failing", ["fchmod", "fsync", "rename"])
def test_a_blob_that_cannot_be_put_in_its_place_leaves_nothing(store, monkeypatch, failing):
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    with store.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA)
        monkeypatch.setattr(os, failing, full)
        with pytest.raises(EngineError, match=r"cannot store blob .*: No space.*free some space"):
            writer.commit()
    assert files(store) == []


def test_a_power_cut_finds_a_whole_blob_or_none(store, monkeypatch) -> None:
    """The content is on the disk before it has its name, and the name before we return."""
    done = []
    rename = os.rename

    def sync(fd) -> None:
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))

    def move(source, target) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", move)
    assert store.put(DATA) == DIGEST
    assert done == [DIGEST[7:], "rename", "sha256"]
    done.clear()
    store.put(b"other", durable=False)
    assert done == ["rename"]


def test_a_beginning_that_cannot_be_read_holds_nobody_up(store, monkeypatch) -> None:
    def broken(*_) -> bytes:
        raise OSError(5, "Input/output error")

    begin(store, 1000)
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", broken)
        with pytest.raises(OSError, match="Input/output error"):
            store.writer(DIGEST, len(DATA))
    assert os.listdir("/proc/self/fd") == before
    with store.writer(DIGEST, len(DATA), timeout_s=0.0) as writer:
        assert writer.offset == 1000


def test_the_whole_filesystem_is_synced(store, monkeypatch) -> None:
    synced = []

    def sync(fd) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(libc, "syncfs", sync)
    before = os.listdir("/proc/self/fd")
    store.sync()
    assert synced == [str(store.root)]
    assert os.listdir("/proc/self/fd") == before


def test_two_writers_of_one_blob_do_not_both_download(store) -> None:
    first = store.writer(DIGEST, len(DATA))
    offsets = []

    def second() -> None:
        with store.writer(DIGEST, len(DATA)) as writer:
            offsets.append((writer.offset, writer.is_complete))
            writer.commit()

    threads = [threading.Thread(target=second) for _ in range(3)]
    for thread in threads:
        thread.start()
    with pytest.raises(TimedOut, match="by another process"):
        store.writer(DIGEST, len(DATA), timeout_s=0.05)
    first.write(DATA)
    first.commit()
    for thread in threads:
        thread.join()
    assert offsets == [(len(DATA), True)] * 3
    assert files(store) == [f"sha256/{DIGEST[7:]}"]


def test_the_next_writer_takes_over_what_the_first_abandons(store) -> None:
    first = store.writer(DIGEST, len(DATA))
    offsets = []

    def second() -> None:
        with store.writer(DIGEST, len(DATA)) as writer:
            offsets.append(writer.offset)

    thread = threading.Thread(target=second)
    thread.start()
    first.write(DATA[:77])
    first.abandon()
    thread.join()
    assert offsets == [77]


def test_sweeping_keeps_what_is_named_and_what_is_fresh_or_held(store) -> None:
    other, fresh = store.put(b"other"), digest_of(b"fresh")
    store.put(DATA)
    with store.writer(fresh, None) as writer:
        writer.write(b"fr")
    stale = store.root / "partial" / ("0" * 64)
    stale.write_bytes(b"123")
    os.utime(stale, (0, 0))
    (store.root / "partial" / "incoming-1").write_bytes(b"4567")
    ahead = store.root / "partial" / ("f" * 64)  # of before the clock was set back
    ahead.write_bytes(b"89")
    os.utime(ahead, (0, 1 << 33))
    held = store.writer(digest_of(b"held"), None)
    os.utime(store.partial_path(digest_of(b"held")), (0, 0))
    assert store.sweep({DIGEST}) == ([other], len(b"other") + 3 + 4 + 2)
    assert store.digests() == {DIGEST}
    assert sorted(os.listdir(store.root / "partial")) == sorted(
        [fresh[7:], digest_of(b"held")[7:]]
    )
    held.abandon()


def test_sweeping_an_empty_store(store) -> None:
    assert store.sweep([]) == ([], 0)
    assert store.remove(DIGEST) == 0


@given(
    pieces=st.lists(st.binary(max_size=40), max_size=8),
    breaks=st.sets(st.integers(0, 8)),
)
def test_any_interruptions_give_the_same_blob(tmp_path_factory, pieces, breaks) -> None:
    store = ContentStore(str(tmp_path_factory.mktemp("content")))
    data = b"".join(pieces)
    digest = digest_of(data)
    writer = store.writer(digest, len(data))
    sent = 0
    for number, piece in enumerate(pieces):
        if number in breaks:
            writer.abandon()
            writer = store.writer(digest, len(data))
        assert writer.offset == sent
        writer.write(piece)
        sent += len(piece)
    writer.commit()
    assert hashlib.sha256(Path(store.path(digest)).read_bytes()).hexdigest() == digest[7:]
    assert files(store) == [f"sha256/{digest[7:]}"]
