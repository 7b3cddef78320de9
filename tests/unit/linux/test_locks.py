"""Locks that others hold, seen and waited for."""

from __future__ import annotations

import os

import pytest

from runengine.linux import locks


@pytest.fixture
def path(tmp_path):
    return f"{tmp_path}/lock"


def test_one_that_is_held_is_seen(path):
    assert not locks.is_locked(path)
    with locks.locked(path):
        assert locks.is_locked(path)
    assert not locks.is_locked(path)


def test_whoever_looks_is_no_holder(path):
    with locks.locked(path, shared=True):
        assert not locks.is_locked(path)


def test_a_look_leaves_no_lock_file_and_no_descriptor(path):
    before = os.listdir("/proc/self/fd")
    assert not locks.is_locked(path)
    assert not os.path.exists(path)
    with locks.locked(path):
        assert locks.is_locked(path)
    assert not locks.is_locked(path)
    assert os.listdir("/proc/self/fd") == before


def test_who_waits_too_long_is_told_for_what(path):
    with (
        locks.locked(path),
        pytest.raises(TimeoutError, match=f"lock {path} is held"),
        locks.locked(path, timeout_s=0.0),
    ):
        pass


def test_a_lock_that_went_with_its_object_is_taken_anew(path, monkeypatch):
    """Its holder removed the file while we waited: what we got is nobody's lock any more."""
    real = locks._flock
    turns: list[int] = []

    def wait(fd, *rest):
        real(fd, *rest)
        if not turns:
            os.unlink(path)
        turns.append(fd)

    monkeypatch.setattr(locks, "_flock", wait)
    with locks.locked(path) as fd:
        assert len(turns) == 2
        assert os.path.samestat(os.fstat(fd), os.stat(path))
