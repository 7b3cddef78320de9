"""Images that mean harm: refused in one line, or kept inside; each with one that means none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import hostile, needs
from tests.support.trees import GROUP, PASSWD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.command_line import CommandLine

    Change = Callable[[Path], object]

pytestmark = [
    pytest.mark.root,
    needs("runc", "overlay", "busybox", "device-nodes"),
]

NULL, ZERO = (1, 3), (1, 5)


def replaced(path: str, change: Change) -> Change:
    """The change, on a path that is not there any more."""

    def apply(top: Path) -> None:
        (top / path).unlink()
        change(top / path)

    return apply


def huge(path: Path) -> None:
    """Sparse, so that it costs nothing here."""
    path.touch()
    os.truncate(path, 3 << 30)


def device(number: tuple[int, int]) -> Change:
    return lambda path: os.mknod(path, 0o20666, os.makedev(*number))


FILES: list[tuple[str, Change, str]] = [
    ("fifo", os.mkfifo, "is not a regular file"),
    ("endless device", device(ZERO), "is not a regular file"),
    ("directory", os.mkdir, "is not a regular file"),
    ("huge", huge, "is larger than"),
    ("link to a device", lambda path: path.symlink_to("/dev/zero"), "is a link to /dev/zero"),
    ("link into proc", lambda path: path.symlink_to("/proc/1/environ"), "is a link to /proc"),
]


@pytest.mark.parametrize("path", ["etc/passwd", "etc/group"])
@pytest.mark.parametrize("row", FILES, ids=lambda row: row[0])
def test_files_that_name_users(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path, path: str, row: tuple[str, Change, str]
):
    _, change, words = row
    with hostile.image(cli, busybox_tar, tmp_path, replaced(path, change)) as image:
        done = cli.call("run", "--rm", image, "id")
        assert (done.code, done.out) == (125, "")
        assert f"/{path} in the container {words}" in done.err
        assert cli.names() == []


def test_links_lead_to_files_of_the_image_only(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path
):
    """The host's file of the same name, which has other users, is never read."""
    (tmp_path / "passwd").write_text("intruder:x:0:0::/:/bin/sh\n")

    def link(top: Path) -> None:
        (top / "etc/passwd").unlink()
        (top / "etc/passwd").symlink_to(f"../../../../../..{tmp_path}/passwd")
        (top / "good").write_text(PASSWD)
        (top / "etc/group").unlink()
        (top / "etc/group").symlink_to("/../good-group")
        (top / "good-group").write_text(GROUP)

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        done = cli.call("run", "--rm", "-u", "intruder", image, "id")
        assert (done.code, done.out) == (125, "")
        assert "not in its passwd file" in done.err
        out = cli.ok("run", "--rm", "-u", "0:wheel", image, "sh", "-c", "id -g")
        assert out == "10"


UIDS = ["", "0x0", "-1", "+0", " 0", "abc", "4294967295", "4294967296", "0" * 11, "\u0660", "1e1"]


def test_odd_uids_are_nobody_and_never_root(cli: CommandLine, busybox_tar: Path, tmp_path: Path):
    users = "".join(f"user{n}:x:{uid}:0::/:/bin/sh\n" for n, uid in enumerate(UIDS))

    def write(top: Path) -> None:
        (top / "etc/passwd").write_text(f"{users}good:x:7:8::/:/bin/sh\n")

    with hostile.image(cli, busybox_tar, tmp_path, write) as image:
        for number, uid in enumerate(UIDS):
            done = cli.call("run", "--rm", "-u", f"user{number}", image, "id", "-u")
            assert (done.code, done.out) == (125, ""), uid
            assert "not in its passwd file" in done.err
        assert cli.ok("run", "--rm", "-u", "good", image, "id", "-u") == "7"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_links_in_the_place_of_proc_and_sys(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path, name: str
):
    """Mounted there, masks and read-only paths would be elsewhere (CVE-2019-19921)."""

    def link(top: Path) -> None:
        (top / name).rmdir()
        (top / name).symlink_to("/var")

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        done = cli.call("run", "--rm", image, "ls", "/var")
        assert (done.code, done.out) == (125, "")
        assert f"/{name}" in done.err
        assert "must be mounted on ordinary directory" in done.err


def test_a_link_in_the_place_of_dev_leads_to_nothing_that_confines(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path
):
    def link(top: Path) -> None:
        (top / "dev").rmdir()
        (top / "dev").symlink_to("/proc")

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        done = cli.call("run", "--rm", image, "true")
        assert (done.code, done.out) == (125, "")
        assert "/proc" in done.err


def test_no_link_of_the_image_leads_a_mount_to_dev(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path
):
    """The runtime would make its devices in what is mounted, here a directory of the host."""
    outside = tmp_path / "outside"
    outside.mkdir()

    def link(top: Path) -> None:
        (top / "data").symlink_to("dev")
        (top / "top").symlink_to("/tmp/..")

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        for flag, value in (
            ("-v", f"{outside}:/data"),
            ("--tmpfs", "/data"),
            ("-v", f"{outside}:/top"),
        ):
            done = cli.call("run", "--rm", flag, value, image, "true")
            assert (done.code, done.out) == (125, "")
            assert "which leads to /" in done.err
        assert os.listdir(outside) == []
        cli.ok("run", "--rm", "-v", f"{outside}:/data/x", image, "touch", "/dev/x/y")
    assert os.listdir(outside) == ["y"]


def test_masks_are_made_of_the_null_device_only(cli: CommandLine):
    """CVE-2025-31133: a volume, filled by a container, that is another's /dev."""
    secret = "/proc/sys/kernel/core_pattern"
    cli.ok("run", "--rm", "-v", "own:/v", "busybox", "ln", "-s", secret, "/v/null")
    shows = ("busybox", "cat", "/proc/keys", "/proc/timer_list")
    done = cli.call("run", "--rm", "-v", "own:/dev", *shows)
    assert (done.code, done.out) == (125, "")
    assert "/null is not the null device" in done.err
    cli.ok("volume", "rm", "own")
    assert cli.call("run", "--rm", "-v", "/dev:/dev", *shows).out == ""


def test_links_in_the_place_of_what_is_mounted_stay_inside(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path
):
    """Network files and users' mounts are made where a link leads to, as seen from inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").write_text("the host's\n")

    def link(top: Path) -> None:
        (top / "etc/hosts").symlink_to(outside / "hosts")
        (top / "etc/resolv.conf").symlink_to(f"../../../../..{outside}/resolv.conf")
        os.mkfifo(top / "etc/hostname")
        (top / "data").symlink_to(outside)

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        bind = ("-v", f"{busybox_tar.parent}:/data/deep")
        script = f"cat /etc/hosts /etc/hostname; ls -d {outside}/deep; touch {outside}/x /data/y"
        out = cli.ok("run", "--rm", "--hostname", "inside", *bind, image, "sh", "-c", script)
        assert out.endswith(f"inside\n{outside}/deep")
        assert "localhost" in out
        assert "the host's" not in out
    assert sorted(os.listdir(outside)) == ["hosts"]
    assert (outside / "hosts").read_text() == "the host's\n"


def test_a_device_of_the_image_opens_nothing(cli: CommandLine, busybox_tar: Path, tmp_path: Path):
    def make(top: Path) -> None:
        os.mknod(top / "loop", 0o60666, os.makedev(7, 0))
        os.mknod(top / "null", 0o20666, os.makedev(*NULL))

    with hostile.image(cli, busybox_tar, tmp_path, make) as image:
        done = cli.call("run", "--rm", image, "head", "-c", "1", "/loop")
        assert done.code != 0
        assert "not permitted" in done.err
        assert cli.ok("run", "--rm", image, "cat", "/null") == ""
        if os.path.exists("/dev/loop0"):
            assert cli.ok("run", "--rm", "--privileged", image, "head", "-c", "0", "/loop") == ""


FLAGS = ["--hostname", "--domainname", "--add-host", "--dns-search", "--dns-option", "--dns"]


@pytest.mark.parametrize("text", ["evil\n192.0.2.1 bank", "a b", "a\t192.0.2.1"], ids=ascii)
@pytest.mark.parametrize("flag", FLAGS)
def test_no_line_can_be_put_into_network_files(cli: CommandLine, flag: str, text: str):
    good = {"--add-host": "a:192.0.2.1", "--dns": "192.0.2.1"}
    done = cli.call("create", flag, text + good.get(flag, "")[1:], "busybox")
    assert (done.code, done.out) == (125, "")
    assert "Traceback" not in done.err
    assert cli.names() == []
    cli.ok("create", flag, good.get(flag, "a"), "busybox")
