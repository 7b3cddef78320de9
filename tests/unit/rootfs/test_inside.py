"""Reaching into a root filesystem."""

from __future__ import annotations

import os
import stat

import pytest

from runengine.errors import InvalidParameter
from runengine.rootfs import inside


@pytest.fixture
def root(tmp_path):
    """A root whose files are traps, and a place outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/passwd").write_text("host:x:0:0\n")
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_bytes(b"root:x:0:0:\xff\n")
    (top / "usr").mkdir()
    os.mkfifo(top / "etc/fifo")
    for name, target in {
        "abs": "/etc/passwd",
        "up": "../../outside/passwd",
        "host": str(tmp_path / "outside/passwd"),
        "fifo": "etc/fifo",
        "loop": "loop",
        "data": "usr/share/data",
        "elsewhere": "../outside",
        "dangling": "usr/nothing",
    }.items():
        (top / name).symlink_to(target)
    return top


@pytest.fixture
def root_fd(root):
    """The root, open."""
    fd = inside.open_root(str(root))
    yield fd
    os.close(fd)


@pytest.mark.parametrize("path", ["/etc/passwd", "etc/passwd", "/abs", "/../etc/passwd"])
def test_reads_a_file_of_the_image(root_fd, path):
    assert inside.read_text(root_fd, path) == "root:x:0:0:\udcff\n"


@pytest.mark.parametrize(
    "path", ["/up", "/host", "/loop", "/nothing", "/etc/passwd/x", "/dangling"]
)
def test_what_leads_out_or_nowhere_is_not_there(root_fd, path):
    assert inside.read_text(root_fd, path) is None


@pytest.mark.parametrize("path", ["/etc/fifo", "/fifo", "/etc", "/"])
def test_only_regular_files_are_opened(root_fd, path):
    with pytest.raises(InvalidParameter, match=f"{path} in the container is not a regular file"):
        inside.read_text(root_fd, path)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("target", ["/dev/zero", "../proc/kmsg", "/usr/../dev/zero", "/sys/x"])
def test_links_to_what_gets_mounted_are_refused(root, root_fd, there, target):
    (root / "etc/group").symlink_to(target)
    if there:
        # The image may have a harmless file there, but the container will not see it.
        for name in ("dev/zero", "proc/kmsg", "sys/x"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
    with pytest.raises(InvalidParameter, match="/etc/group in the container is a link to /"):
        inside.read_text(root_fd, "/etc/group")


@pytest.mark.parametrize("target", ["/proc/self/fd/0", "/dev/stdin", "../usr/../proc/self/x"])
def test_links_that_lead_to_whoever_follows_them_are_refused(root, root_fd, target):
    """As in a container that runs, whose runtime would read its own input."""
    (root / "proc").mkdir()
    (root / "proc/self").symlink_to("2345")
    (root / "dev").mkdir()
    (root / "dev/stdin").symlink_to("/proc/self/fd/0")
    (root / "etc/group").symlink_to(target)
    with pytest.raises(InvalidParameter, match="/etc/group in the container is a link to /"):
        inside.read_text(root_fd, "/etc/group")


def test_huge_files_are_refused_before_they_are_read(root, root_fd):
    os.truncate(root / "etc/passwd", 5 << 30)
    with pytest.raises(InvalidParameter, match="/etc/passwd in the container is larger than"):
        inside.read_text(root_fd, "/etc/passwd")


def test_the_limit_itself_is_allowed(root, root_fd):
    (root / "etc/passwd").write_bytes(b"x" * 100)
    assert inside.read_text(root_fd, "/etc/passwd", 100) == "x" * 100
    with pytest.raises(InvalidParameter, match="larger than 99 bytes"):
        inside.read_text(root_fd, "/etc/passwd", 99)


# E-08
@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/usr/a/b", "/usr/a/b"),
        ("/etc", "/etc"),
        ("/data/deep", "/usr/share/data/deep"),
        ("/elsewhere/x", "/outside/x"),
        ("/", "/"),
    ],
)
def test_makes_directories_inside(root, root_fd, path, made):
    assert inside.ensure_directory(root_fd, path) == made
    assert stat.S_ISDIR(os.lstat(root / made.lstrip("/")).st_mode)
    assert os.listdir(root.parent / "outside") == ["passwd"]


def test_modes_do_not_depend_on_the_umask(root, root_fd):
    before = os.umask(0o77)
    try:
        inside.ensure_directory(root_fd, "/usr/x/y")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.lstat(root / "usr/x/y").st_mode) == 0o755


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/passwd/x", "/abs/x", "/fifo"])
def test_files_in_the_way_are_named(root_fd, path):
    with pytest.raises(InvalidParameter, match="not a directory"):
        inside.ensure_directory(root_fd, path)


def test_mount_points_are_made_or_found(root, root_fd):
    assert inside.ensure_mountpoint(root_fd, "/a/dir", directory=True) == "/a/dir"
    assert inside.ensure_mountpoint(root_fd, "/b/file", directory=False) == "/b/file"
    assert (root / "a/dir").is_dir()
    assert (root / "b/file").read_bytes() == b""
    assert inside.ensure_mountpoint(root_fd, "/abs", directory=False) == "/etc/passwd"
    assert inside.ensure_mountpoint(root_fd, "/top", directory=False) == "/top"


def test_mount_points_of_the_other_kind_are_refused(root_fd):
    with pytest.raises(InvalidParameter, match="is a directory"):
        inside.ensure_mountpoint(root_fd, "/etc", directory=False)
    with pytest.raises(InvalidParameter, match="not a directory"):
        inside.ensure_mountpoint(root_fd, "/etc/passwd", directory=True)
    with pytest.raises(InvalidParameter, match="symbolic link to a file that is not there"):
        inside.ensure_mountpoint(root_fd, "/dangling", directory=False)
