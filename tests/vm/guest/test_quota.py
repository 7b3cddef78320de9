"""Disk quotas for real: ext4 with project quota, as the guest's root has it, and xfs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine import Engine
from runengine.paths import Paths
from runengine.rootfs import quota
from tests.support.engines import Runner
from tests.vm.guest import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command_line import CommandLine

pytestmark = pytest.mark.vm
MIB = 1 << 20
RUN = ("run", "-d", "--network", "none", "--stop-signal", "KILL")


def written(cli: CommandLine, container: str, path: str, mib: int) -> int:
    """How many MiB can be written to a file, which is gone afterwards."""
    dd = f"dd if=/dev/zero of={path} bs=1M count={mib} 2>/dev/null"
    script = f"{dd}; stat -c %s {path}; rm {path}"
    return int(cli.ok("exec", container, "sh", "-c", script)) // MIB


def df(cli: CommandLine, container: str, path: str) -> int:
    """The size in MiB that ``df`` shows inside."""
    shown = cli.ok("exec", container, "df", "-P", "-m", path)
    return int(shown.splitlines()[1].split()[1])


def size(cli: CommandLine, container: str, path: str) -> int:
    """The same by the path itself: busybox's ``df`` takes the first mount of a device for all."""
    blocks, unit = cli.ok("exec", container, "stat", "-f", "-c", "%b %S", path).split()
    return int(blocks) * int(unit) // MIB


def test_the_containers_own_files(cli: CommandLine):
    flags = ("--userns=auto", "--storage-opt", "size=8m", "--storage-opt", "inodes=60")
    cli.ok(*RUN, "--name", "small", *flags, "busybox", "sleep", "1000")
    assert df(cli, "small", "/") == 8
    assert 4 <= written(cli, "small", "/etc/big", 12) < 8
    script = "for n in $(seq 100); do echo >/tmp/$n || break; done 2>/dev/null; ls /tmp | wc -l"
    assert 30 < int(cli.ok("exec", "small", "sh", "-c", script)) < 60
    cli.ok("exec", "small", "sh", "-c", "rm /tmp/*")
    cli.ok("update", "--disk-quota", "/=20m", "small")
    assert df(cli, "small", "/") == 20
    assert written(cli, "small", "/etc/big", 12) == 12
    project = quota.project_of(next(Path(installed.ROOT, "containers").glob("*/upper")).as_posix())
    assert quota.account(installed.ROOT, project).limit_bytes == 20 * MIB
    cli.ok("rm", "-f", "small")
    assert quota.account(installed.ROOT, project)[:2] == (0, 0)


def test_volumes_and_one_budget_for_all(cli: CommandLine):
    cli.ok("volume", "create", "-o", "size=4m", "mine")
    flags = ("--disk-quota", "8m", "-v", "mine:/mine", "-v", "shared:/shared", "-v", "/free")
    cli.ok(*RUN, "--name", "pool", *flags, "busybox", "sleep", "1000")
    assert [size(cli, "pool", path) for path in ("/", "/mine", "/shared", "/free")] == [8, 4, 8, 8]
    cli.ok("exec", "pool", "sh", "-c", f"head -c {4 * MIB} /dev/zero >/shared/half")
    assert written(cli, "pool", "/free/rest", 8) < 4
    assert written(cli, "pool", "/mine/rest", 8) < 4
    cli.ok("rm", "-f", "-v", "pool")
    place = cli.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "shared").strip()
    assert os.path.getsize(f"{place}/half") == 4 * MIB
    assert quota.project_of(place) == 0
    cli.ok("volume", "rm", "mine", "shared")
    assert quota.free_project(installed.ROOT) == quota.FIRST_ID


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of the other kind that has projects, mounted."""
    disk, place = tmp_path / "disk", tmp_path / "place"
    place.mkdir()
    disk.touch()
    os.truncate(disk, 512 * MIB)
    installed.run("mkfs.xfs", "-q", str(disk))
    installed.run("mount", "-o", "loop,prjquota", str(disk), str(place))
    yield place
    installed.run("umount", str(place))


@pytest.fixture
def on_xfs(xfs: Path) -> Iterator[Runner]:
    """Containers of an engine there."""
    with Engine.open(Paths(f"{xfs}/root", f"{xfs}/state")) as engine:
        engine.images.ensure_default()
        yield Runner(engine)
        for entry in engine.containers.list(all=True):
            engine.containers.remove(entry["Id"], force=True)


def test_on_xfs(on_xfs: Runner, xfs: Path):
    limits = {"size": "8m", "inodes": "60"}
    container = on_xfs.start("sleep", "1000", StorageOpt=limits)
    script = """
    df -P -m / | tail -n 1
    dd if=/dev/zero of=/big bs=1M count=12 2>/dev/null; stat -c %s /big; rm /big
    for n in $(seq 100); do echo >/tmp/$n || break; done 2>/dev/null; ls /tmp | wc -l
    """
    _, out, _ = on_xfs.exec(container, "sh", "-c", script)
    shown, size, files = out.decode().splitlines()
    assert shown.split()[1] == "8"
    assert 4 * MIB <= int(size) <= 8 * MIB
    assert 30 < int(files) < 60
    (upper,) = Path(xfs, "root/containers").glob("*/upper")
    project = quota.project_of(str(upper))
    found = quota.account(str(xfs), project)
    assert found[:2] == (8 * MIB, 60)
    assert found.used_inodes > 30
    on_xfs.engine.containers.remove(container, force=True)
    # It takes removed files off the account a little later.
    installed.wait_until(lambda: quota.account(str(xfs), project) == (0, 0, 0, 0))
