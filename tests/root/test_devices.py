"""Devices of the host in containers: lists, folders, permissions, rules, by the kernel's own word.

The nodes are made by the tests, with numbers that no container may open by default.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox", "device-nodes")]

KMSG, LOOP0 = os.makedev(1, 11), os.makedev(7, 0)
# The kernel's log asks for a capability besides the device cgroup's leave.
BASE = ("run", "--rm", "--cap-add", "SYSLOG")
ACCESSES = "for mode in '<' '>'; do (eval \": $mode $1\") 2>/dev/null && echo \"$mode\"; done"


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """A folder with two device nodes, one of them in a folder below, and what is none."""
    folder = tmp_path / "nodes"
    (folder / "below" / "deep").mkdir(parents=True)
    os.mknod(folder / "log", stat.S_IFCHR | 0o640, KMSG)
    os.chown(folder / "log", 12, 34)
    os.mknod(folder / "below" / "deep" / "disk", stat.S_IFBLK | 0o600, LOOP0)
    (folder / "file").touch()
    (folder / "link").symlink_to("log")
    return folder


def accesses(cli: CommandLine, path: str, *flags: str) -> str:
    """How a container's root may open a node: ``<`` to read, ``>`` to write."""
    shown = cli.ok(*BASE, *flags, "busybox", "sh", "-c", f"{ACCESSES}; :", "sh", path)
    return "".join(shown.split())


@pytest.mark.parametrize(
    ("access", "expected"), [("", "<>"), (":r", "<"), (":w", ">"), (":rw", "<>"), (":m", "")]
)
def test_permissions(cli: CommandLine, nodes: Path, access: str, expected: str):  # E-17
    assert accesses(cli, "/dev/mine", "--device", f"{nodes}/log:/dev/mine{access}") == expected


def test_a_node_is_made_like_the_hosts(cli: CommandLine, nodes: Path):
    script = "stat -c '%n %F %a %u:%g %t,%T' /dev/mine/x; ls /dev/mine"
    shown = cli.ok(*BASE, "--device", f"{nodes}/link:/dev/mine/x", "busybox", "sh", "-c", script)
    assert shown == "/dev/mine/x character special file 640 12:34 1,b\nx"


def test_a_folder_gives_what_is_below_it(cli: CommandLine, nodes: Path):  # E-17
    flags = ("--device", f"{nodes}:/dev/all:r")
    shown = cli.ok(*BASE, *flags, "busybox", "find", "/dev/all", "!", "-type", "d")
    assert sorted(shown.split()) == ["/dev/all/below/deep/disk", "/dev/all/log"]
    assert accesses(cli, "/dev/all/log", *flags) == "<"


def test_the_hosts_whole_dev(cli: CommandLine):
    """Over its own terminals, shared memory and console, which are the container's."""
    shown = cli.ok(*BASE, "--device", "/dev", "busybox", "sh", "-c", "ls /dev/pts /dev/shm; echo")
    assert shown.split() == ["/dev/pts:", "ptmx", "/dev/shm:"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("c 1:11 rwm", "<>"),
        ("c 1:* r", "<"),
        ("c *:11 w", ">"),
        ("c 1:12 rwm", ""),
        ("b 1:11 rwm", ""),
        ("a 1:11 r", "<"),
        ("a 7:11 rwm", ""),
        ("a *:* rwm", "<>"),
    ],
)
def test_rules(cli: CommandLine, rule: str, expected: str):
    script = f"mknod /k c 1 11 && {{ {ACCESSES}; }}; :"
    flags = ("--device-cgroup-rule", rule)
    shown = cli.ok(*BASE, *flags, "busybox", "sh", "-c", script, "sh", "/k")
    assert "".join(shown.split()) == expected


def test_privileged_has_every_device_and_the_named_ones(cli: CommandLine, nodes: Path):
    # What is named has its own path even so; its permissions say nothing any more.
    flags = ("--privileged", "--device", f"{nodes}/log:/dev/mine:r")
    assert accesses(cli, "/dev/mine", *flags) == "<>"
    own = [path for path in ("/dev/full", "/dev/net/tun", "/dev/loop0") if Path(path).exists()]
    shown = cli.ok(*BASE, *flags, "busybox", "ls", *own)
    assert sorted(shown.split()) == sorted(own)


@needs("loop")
def test_a_block_device_reads_what_the_host_reads(cli: CommandLine):
    if not Path("/dev/loop0").exists():
        pytest.skip("no /dev/loop0")
    size = int(Path("/sys/class/block/loop0/size").read_text()) * 512
    script = "blockdev --getsize64 /dev/disk; (: >> /dev/disk) 2>/dev/null || echo refused"
    shown = cli.ok(*BASE, "--device", "/dev/loop0:/dev/disk:r", "busybox", "sh", "-c", script)
    assert shown.split() == [str(size), "refused"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nonexistent", "No such file or directory"),
        ("{nodes}/file", "is not a device node"),
        ("{nodes}/below/deep/disk/x", "Not a directory"),
        ("{nodes}/empty", "is not a device node"),
    ],
)
def test_what_cannot_be_given(cli: CommandLine, nodes: Path, path: str, reason: str):
    (nodes / "empty").mkdir()
    path = path.format(nodes=nodes)
    done = cli.call("run", "--name", "none", "--device", path, "busybox", "true")
    assert done.code == 125
    told = f'error gathering device information while adding custom device "{path}": '
    assert told in done.err
    assert reason in done.err
    # As with Docker the container is there, and starts once the device is.
    assert cli.state_of("none") == "created"
    assert json.loads(cli.ok("inspect", "none"))[0]["HostConfig"]["Devices"] == [
        {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
    ]
