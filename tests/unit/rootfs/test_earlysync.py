"""Writing out ahead of the last sync: when it begins, and that no failure of it is lost."""

from __future__ import annotations

import errno
import io
import threading

import pytest

from runengine.errors import EngineError
from runengine.rootfs import earlysync
from runengine.rootfs.earlysync import EarlySync
from runengine.rootfs.unpack import unpack_layer
from tests.support.tars import archive, member

STEP = earlysync.STEP_BYTES


@pytest.fixture
def synced(monkeypatch):
    """Descriptors that were synced."""
    calls: list[int] = []
    monkeypatch.setattr(earlysync.libc, "syncfs", calls.append)
    return calls


def test_every_step_begins_one(synced):
    early = EarlySync(7)
    for position in (0, STEP - 1, STEP, STEP + 1, 2 * STEP, 5 * STEP, 5 * STEP + 1):
        early.advance(position)
        early.close()
    assert synced == [7, 7, 7]
    early.check()


def test_one_at_a_time(monkeypatch):
    release, calls = threading.Event(), []

    def slow(fd):
        calls.append(fd)
        assert release.wait(10)

    monkeypatch.setattr(earlysync.libc, "syncfs", slow)
    early = EarlySync(7)
    for step in range(1, 5):
        early.advance(step * STEP)
    assert calls == [7]
    release.set()
    early.close()
    early.advance(5 * STEP)
    early.close()
    assert calls == [7, 7]


def test_a_failure_fails_the_layer(monkeypatch, tmp_path):
    def fail(_fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(earlysync.libc, "syncfs", fail)
    monkeypatch.setattr(earlysync, "STEP_BYTES", 512)
    layer = archive(member("a", b"x" * 2000), member("b", b"y"))
    with pytest.raises(EngineError, match="cannot be unpacked") as caught:
        unpack_layer(io.BytesIO(layer), str(tmp_path))
    assert caught.value.details == "Input/output error"


def test_small_layers_are_left_to_the_last_sync(synced, tmp_path):
    unpack_layer(io.BytesIO(archive(member("a", b"x" * 2000))), str(tmp_path))
    assert synced == []
