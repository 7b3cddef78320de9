"""Copies that are like what they were made of."""

import os
import stat

import pytest

from runengine.rootfs import copytree


@pytest.fixture
def pair(tmp_path):
    """A source and a target directory, and descriptors of both."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fds = os.open(source, flags), os.open(target, flags)
    yield source, target, fds
    for fd in fds:
        os.close(fd)


def look(path):
    seen = path.lstat()
    return stat.S_IFMT(seen.st_mode), seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns


def test_everything_stays_as_it_was(pair):
    source, target, fds = pair
    (source / "dir/below").mkdir(parents=True)
    (source / "dir/below/file").write_bytes(b"x" * 100_000)
    (source / "dir/below/file").chmod(0o4711)
    os.link(source / "dir/below/file", source / "same")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo", 0o640)
    os.setxattr(source / "same", "user.note", b"kept")
    os.utime(source / "link", ns=(5, 7), follow_symlinks=False)
    (source / "dir").chmod(0o1750)
    os.utime(source / "dir", ns=(1_000_000_000, 2_000_000_001))
    os.utime(source, ns=(3, 4_000_000_000))
    source.chmod(0o710)
    copytree.copy_contents(*fds)
    for name in ("", "dir", "dir/below", "dir/below/file", "link", "fifo"):
        assert look(target / name) == look(source / name), name
    assert (target / "same").read_bytes() == (source / "same").read_bytes()
    assert (target / "same").stat().st_ino == (target / "dir/below/file").stat().st_ino
    assert os.getxattr(target / "same", "user.note") == b"kept"
    assert os.readlink(target / "link") == "/etc/passwd"


def test_holes_stay_holes(pair):
    source, target, fds = pair
    with (source / "file").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
        file.truncate(16 << 20)
    copytree.copy_contents(*fds)
    copied = target / "file"
    assert copied.stat().st_size == 16 << 20
    assert copied.stat().st_blocks * 512 < 1 << 20
    with copied.open("rb") as file:
        file.seek(8 << 20)
        assert file.read(4) == b"end\0"


def test_what_is_there_already_stays(pair):
    source, target, fds = pair
    (source / "file").write_text("new")
    (source / "dir").mkdir()
    (source / "dir/more").write_text("new")
    (target / "file").write_text("old")
    (target / "dir").mkdir()
    (target / "dir/own").write_text("old")
    copytree.copy_contents(*fds)
    assert (target / "file").read_text() == "old"
    assert (target / "dir/own").read_text() == "old"
    assert (target / "dir/more").read_text() == "new"


def test_links_in_the_target_lead_nowhere(pair, tmp_path):
    source, target, fds = pair
    outside = tmp_path / "outside"
    outside.mkdir()
    (source / "file").write_text("new")
    (source / "dir").mkdir()
    (source / "dir/below").write_text("new")
    (target / "file").symlink_to(outside / "made")
    (target / "dir").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        copytree.copy_contents(*fds)
    assert os.listdir(outside) == []


def test_owners_can_be_translated(pair):
    source, target, fds = pair
    (source / "file").write_text("x")
    seen = []

    def owners(uid, gid):
        seen.append((uid, gid))
        return uid, gid

    copytree.copy_contents(fds[0], fds[1], owners)
    assert seen == [(os.getuid(), os.getgid())] * 2
    assert (target / "file").stat().st_uid == os.getuid()


def test_a_deep_tree_takes_neither_stack_nor_descriptors(pair):
    source, target, fds = pair
    path = source
    for number in range(300):
        path = path / f"{number:03}"
    path.mkdir(parents=True)
    (path / "file").write_text("deep")
    copytree.copy_contents(*fds)
    copied = target / path.relative_to(source) / "file"
    assert copied.read_text() == "deep"


def test_a_look_alone(pair):
    source, target, fds = pair
    source.chmod(0o1770)
    os.utime(source, ns=(1, 2_000_000_000))
    (source / "file").write_text("x")
    copytree.copy_look(*fds)
    assert look(target)[1:4] == look(source)[1:4]
    assert os.listdir(target) == []
