"""Copies of trees: all that files have comes along, and nobody leads a copy elsewhere."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from runengine.errors import Conflict, InvalidParameter
from runengine.rootfs import transfer
from runengine.rootfs.places import Places
from runengine.rootfs.transfer import Options, Transfer
from tests.support import treecmp

if TYPE_CHECKING:
    from pathlib import Path

ME = (os.getuid(), os.getgid())


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


@pytest.fixture
def target(tmp_path):
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


def copy(path, directory, base, **options):
    """Copy ``path`` to ``base`` in a directory."""
    work = Transfer(Options(**options))
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        with Places() as places:
            work.copy(places.source(str(path)), fd, base)
    finally:
        os.close(fd)
    return work


@pytest.mark.parametrize("trusted", [True, False])
def test_a_tree_comes_out_the_same(source, target, trusted):
    (source / "sub/deeper").mkdir(parents=True)
    (source / "sub/file").write_bytes(b"x" * 100_000)
    (source / "large").write_bytes(os.urandom(1 << 20))
    (source / "empty").touch()
    (source / "link").symlink_to("../somewhere")
    (source / "sub/deeper").chmod(0o2750)
    (source / "large").chmod(0o4711)
    os.mkfifo(source / "fifo")
    os.setxattr(source / "sub/file", "user.note", b"kept")
    os.utime(source / "sub", ns=(1_000_000_001, 2_000_000_003))
    work = copy(source, target, "copy", trusted=trusted)
    assert work.files == 5
    assert work.bytes == 100_000 + (1 << 20)
    found = treecmp.differences(treecmp.manifest(target / "copy"), treecmp.manifest(source))
    assert not found


def test_hard_links_stay_links(source, target):
    (source / "sub").mkdir()
    (source / "first").write_text("one")
    os.link(source / "first", source / "sub/second")
    os.link(source / "first", target / "outside")
    copy(source, target, "copy")
    first, second = target / "copy/first", target / "copy/sub/second"
    assert first.samefile(second)
    assert first.stat().st_nlink == 2


def test_holes_stay_holes(source, target):
    with (source / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"data")
    copy(source / "sparse", target, "sparse")
    seen = (target / "sparse").stat()
    assert seen.st_size == 64 << 20
    assert seen.st_blocks * 512 < 1 << 20
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()


def test_contents_are_merged(source, target):
    (source / "both").mkdir()
    (source / "both/new").write_text("new")
    (source / "both/old").write_text("newer")
    (target / "both").mkdir()
    (target / "both/old").write_text("old")
    (target / "both/kept").write_text("kept")
    copy(f"{source}/.", target, ".")
    assert {p.name: p.read_text() for p in (target / "both").iterdir()} == {
        "new": "new", "old": "newer", "kept": "kept",
    }  # fmt: skip


def test_kinds_do_not_replace_each_other(source, target):
    (source / "file").write_text("x")
    (target / "file").mkdir()
    with pytest.raises(Conflict, match="cannot overwrite directory 'file'"):
        copy(source / "file", target, "file")
    (source / "dir").mkdir()
    (target / "dir").symlink_to("file")
    with pytest.raises(Conflict, match="cannot overwrite non-directory 'dir'"):
        copy(source / "dir", target, "dir")


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(source, target, tmp_path):
    (source / "file").write_text("new")
    (tmp_path / "victim").write_text("untouched")
    (target / "file").symlink_to(tmp_path / "victim")
    copy(source / "file", target, "file")
    assert (target / "file").read_text() == "new"
    assert (tmp_path / "victim").read_text() == "untouched"
    # The twin: a copy by name goes through the link.
    (target / "twin").symlink_to(tmp_path / "victim")
    shutil.copyfile(source / "file", target / "twin")
    assert (tmp_path / "victim").read_text() == "new"


def test_nothing_is_copied_into_itself(source):
    (source / "sub").mkdir()
    (source / "file").write_text("precious")
    with pytest.raises(InvalidParameter, match="into itself"):
        copy(source, source / "sub", "inner")
    assert os.listdir(source / "sub") == []
    with pytest.raises(InvalidParameter, match="same directory"):
        copy(source, source.parent, "source")
    with pytest.raises(InvalidParameter, match="same file"):
        copy(source / "file", source, "file")
    os.link(source / "file", source / "other")
    with pytest.raises(InvalidParameter, match="same file"):
        copy(source / "file", source, "other")
    assert (source / "file").read_text() == "precious"


def test_sockets_are_counted_not_copied(source, target):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(source / "socket"))
        assert copy(source, target, "copy").sockets == 1
    assert os.listdir(target / "copy") == []


def test_owners_can_be_given(source, target):
    (source / "file").touch()
    copy(source, target, "copy", owner=ME)
    assert (target / "copy/file").stat().st_uid == ME[0]


def test_hidden_directories_are_empty(source, target):
    (source / "proc/1").mkdir(parents=True)
    seen = (source / "proc").stat()
    copy(source, target, "copy", hidden=frozenset({(seen.st_dev, seen.st_ino)}))
    assert os.listdir(target / "copy/proc") == []


def test_a_check_ends_the_copy_and_no_file_is_left_half(source, target):
    (source / "file").write_text("x")

    def stopped() -> None:
        raise Conflict("it has stopped")

    with pytest.raises(Conflict, match="it has stopped"):
        copy(source, target, "copy", check=stopped)
    assert os.listdir(target / "copy") == []


def test_a_full_disk_leaves_no_part_of_a_file(source, target, monkeypatch):
    (source / "file").write_text("data")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "_content", full)
    with pytest.raises(OSError, match="No space left") as caught:
        copy(source / "file", target, "file")
    assert caught.value.filename == "file"
    assert os.listdir(target) == []


def test_depth_does_not_matter(source, target):
    """Deeper than there may be descriptors, and than a name may be long."""
    fd = os.open(source, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 10, dir_fd=fd)
        deeper = os.open("d" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    assert copy(source, target, "copy").files == 1
    for tree in (source, target):
        transfer_remove(tree)


def transfer_remove(tree):
    from runengine.rootfs.walk import remove_tree

    remove_tree(str(tree))


# Races, each at its worst moment, and each with a twin that falls for it.


def swap(path: Path, target: Path) -> None:
    """Put a link in the place of a directory, as a container's process could."""
    path.rename(path.with_name(f"{path.name}-away"))
    path.symlink_to(target)


@pytest.fixture
def outside(tmp_path):
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("secret")
    return directory


def test_a_source_directory_that_becomes_a_link_is_not_followed(
    source, target, outside, monkeypatch
):
    (source / "d").mkdir()

    def look(fd):
        entries = os.scandir(fd)
        if (source / "d").is_dir() and not (source / "d").is_symlink():
            listed = list(entries)
            swap(source / "d", outside)
            return Listed(listed)
        return entries

    monkeypatch.setattr(os, "scandir", Once(look))
    copy(source, target, "copy")
    monkeypatch.undo()
    assert not (target / "copy/d/secret").exists()
    # The twin opens what was listed by its name.
    assert (source / "d/secret").read_text() == "secret"


def test_a_target_directory_that_becomes_a_link_is_not_followed(
    source, target, outside, monkeypatch
):
    (source / "d").mkdir()
    (source / "d/file").write_text("planted")
    real = os.mkdir

    def make(name, *args, **kwargs):
        real(name, *args, **kwargs)
        if name == "d":
            swap(target / "copy/d", outside)

    monkeypatch.setattr(os, "mkdir", make)
    with pytest.raises(Conflict, match="non-directory"):
        copy(source, target, "copy")
    monkeypatch.undo()
    assert os.listdir(outside) == ["secret"]
    # The twin makes the same directory and goes on by its name.
    (target / "copy/d/file").write_text("planted")
    assert "file" in os.listdir(outside)


def test_a_file_that_becomes_a_device_is_not_opened_as_one(source, target, monkeypatch):
    """To open a fifo waits for a writer, to open a device may do anything."""
    (source / "file").write_text("x")
    real = os.open

    def swapping(path, flags, *args, **kwargs):
        if path == "file" and (source / "file").is_file():
            (source / "file").unlink()
            os.mkfifo(source / "file")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapping)
    copy(source / "file", target, "file")
    monkeypatch.undo()
    assert stat.S_ISFIFO((target / "file").stat().st_mode)


def test_a_directory_moved_away_under_the_copy_ends_it(source, target, outside, monkeypatch):
    """Else '..' would lead to wherever it was moved."""
    (source / "a/b").mkdir(parents=True)
    real = transfer._up

    def moved(fd, expected):
        if (source / "a/b").exists():
            (source / "a/b").rename(outside / "b")
        return real(fd, expected)

    monkeypatch.setattr(transfer, "_up", moved)
    with pytest.raises(OSError, match="was moved"):
        copy(source, target, "copy")
    assert not (target / "copy/secret").exists()


class Once:
    """Stands for a function, for its first call."""

    def __init__(self, function):
        self.function = function
        self.real = os.scandir
        self.done = False

    def __call__(self, *args):
        if self.done:
            return self.real(*args)
        self.done = True
        return self.function(*args)


class Listed:
    """What scandir gives, from a list."""

    def __init__(self, entries):
        self.entries = entries

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *_):
        pass
