"""What of later mounts goes in and comes out, by each word, and where a mount may not go."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from runengine.linux import mount
from tests.support import hostile, needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [
    pytest.mark.root,
    needs("runc", "overlay", "busybox"),
]


def mount_tmpfs(path: Path) -> None:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "t", path], check=True)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A shared mount of the host's with a mount below it."""
    top = tmp_path / "top"
    mount_tmpfs(top)
    subprocess.run(["mount", "--make-shared", top], check=True)
    mount_tmpfs(top / "below")
    yield top
    while os.path.ismount(top):
        subprocess.run(["umount", "-R", top], check=True)


def is_mounted(cli: CommandLine, path: str) -> bool:
    return cli.call("exec", "one", "grep", "-q", f" {path} ", "/proc/mounts").code == 0


@pytest.mark.parametrize(
    ("word", "goes_in", "comes_out"),
    [
        ("private", False, False),
        ("rprivate", False, False),
        ("slave", True, False),
        ("rslave", True, False),
        ("shared", True, True),
        ("rshared", True, True),
    ],
)
def test_mounts_that_come_later(  # AB-01 to AB-04
    cli: CommandLine, shared: Path, word: str, goes_in: bool, comes_out: bool
):
    (shared / "inner").mkdir()
    flags = ("--cap-add", "SYS_ADMIN", "-v", f"{shared}:/d:{word}")
    cli.ok("run", "-d", "--name", "one", *flags, "busybox", "sleep", "1000")
    assert is_mounted(cli, "/d/below")
    mount_tmpfs(shared / "late")
    assert is_mounted(cli, "/d/late") == goes_in
    cli.ok("exec", "one", "mount", "-t", "tmpfs", "t", "/d/inner")
    assert os.path.ismount(shared / "inner") == comes_out
    cli.ok("rm", "-f", "one")
    # What came out is the host's now, and what is the host's stays.
    assert os.path.ismount(shared / "below")


def test_the_root_itself_lets_nothing_out(cli: CommandLine, shared: Path):
    """AB-02: what its mounts need of the root's propagation opens no other way."""
    (shared / "inner").mkdir()
    flags = ("--cap-add", "SYS_ADMIN", "-v", f"{shared}:/d:rshared")
    cli.ok("run", "-d", "--name", "one", *flags, "busybox", "sleep", "1000")
    before = {entry.target for entry in mount.mounts()}
    for path in ("/tmp", "/d/inner"):
        cli.ok("exec", "one", "mount", "-t", "tmpfs", "t", path)
    after = {entry.target for entry in mount.mounts()}
    assert {path for path in after - before if str(cli.root) in path} == set()
    assert str(shared / "inner") in after - before


@pytest.mark.parametrize("flags", [(), ("--privileged",)], ids=["default", "privileged"])
def test_read_only_holds_below_and_is_not_taken_off(
    cli: CommandLine, shared: Path, flags: tuple[str, ...]
):
    """DESIGN 10: what is mounted below a read-only bind is not writable either."""
    script = "for p in /d /d/below; do touch $p/x 2>&1; done"
    done = cli.call("run", "--rm", *flags, "-v", f"{shared}:/d:ro", "busybox", "sh", "-c", script)
    assert done.out.count("Read-only file system") == 2
    fields = f"type=bind,src={shared},dst=/d,readonly"
    for words, refused in (
        ("", 2),
        (",bind-recursive=enabled", 2),
        (",bind-recursive=writable", 1),
        (",bind-recursive=readonly,bind-propagation=rprivate", 2),
    ):
        mounted = ("--mount", fields + words)
        done = cli.call("run", "--rm", *flags, *mounted, "busybox", "sh", "-c", script)
        assert done.out.count("Read-only file system") == refused, words
    alone = ("--mount", f"{fields},bind-recursive=disabled")
    assert cli.ok("run", "--rm", *flags, *alone, "busybox", "ls", "-A", "/d/below") == ""


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "../../proc/self/attr"])
def test_links_of_the_image_lead_no_mount_over_proc(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path, target: str
):
    def link(top: Path) -> None:
        (top / "link").symlink_to(target)
        (top / "good").symlink_to("/var/../tmp")

    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        for flags in (("-v", f"{source}:/link"), ("--tmpfs", "/link")):
            done = cli.call("run", "--rm", *flags, image, "ls", "/link/")
            assert (done.code, done.out) == (125, "")
            assert "would cover /proc" in done.err
        assert cli.ok("run", "--rm", "-v", f"{source}:/good", image, "ls", "/tmp") == "file"
