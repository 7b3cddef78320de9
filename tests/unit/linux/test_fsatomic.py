"""Files that are whole or absent, whatever fails on the way."""

from __future__ import annotations

import errno
import json
import os
import stat

import pytest

from runengine.linux import fsatomic


@pytest.fixture
def path(tmp_path):
    return f"{tmp_path}/file"


def refuse(*_args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_new_content_takes_the_old_ones_place(path, tmp_path):
    fsatomic.replace(path, b"old", mode=0o644)
    before, open_ones = os.stat(path), os.listdir("/proc/self/fd")
    fsatomic.replace(path, b"new")
    assert os.listdir("/proc/self/fd") == open_ones
    assert os.listdir(tmp_path) == ["file"]
    assert fsatomic.read_optional(path) == b"new"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.stat(path).st_ino != before.st_ino


def test_the_mode_is_what_is_asked_for_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        fsatomic.replace(path, b"", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


@pytest.mark.parametrize("failing", ["write", "fchmod", "fsync", "rename"])
def test_what_fails_leaves_the_old_content_and_nothing_else(path, tmp_path, monkeypatch, failing):
    fsatomic.replace(path, b"old")
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, refuse)
        with pytest.raises(OSError, match="No space left"):
            fsatomic.replace(path, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert fsatomic.read_optional(path) == b"old"
    assert os.listdir("/proc/self/fd") == before


def test_a_power_cut_finds_the_old_or_the_new(path, tmp_path, monkeypatch):
    """The content is on the disk before it has the name, and the name before we return."""
    done = []
    rename = os.rename

    def sync(fd):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).partition(".")[0])

    def move(source, target):
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", move)
    fsatomic.replace(path, b"x")
    assert done == ["file", "rename", tmp_path.name]
    done.clear()
    fsatomic.replace(path, b"x", durable=False)
    assert done == ["rename"]


def test_a_write_that_stops_short_goes_on(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    fsatomic.replace(path, b"more than three bytes")
    monkeypatch.undo()
    assert fsatomic.read_optional(path) == b"more than three bytes"


def test_a_document_ends_in_a_newline(path):
    fsatomic.replace_json(path, {"a": [1]})
    data = fsatomic.read_optional(path)
    assert data is not None
    assert data.endswith(b"\n")
    assert json.loads(data) == {"a": [1]}


def test_a_file_is_read_whole_or_not_there(path):
    assert fsatomic.read_optional(path) is None
    long = os.urandom(fsatomic.READ_SIZE * 2 + 1)
    fsatomic.replace(path, long, durable=False)
    before = os.listdir("/proc/self/fd")
    assert fsatomic.read_optional(path) == long
    assert os.listdir("/proc/self/fd") == before
