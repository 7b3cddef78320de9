"""systemd as process 1 of a container: the guest's own, on cgroup v2, with and without a map."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vm.guest.installed import ok, run, state, wait_until

pytestmark = pytest.mark.vm
PROGRAMS = (
    *("/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-executor"),
    *("/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl", "/usr/bin/busybox"),
)
UNITS = "/usr/lib/systemd/system"
HALT = (
    *("halt.target", "systemd-halt.service"),
    *("shutdown.target", "umount.target", "final.target"),
)
TARGET = """\
[Unit]
Description=All that there is
DefaultDependencies=no
Requires=web.service
"""
SERVICE = """\
[Unit]
Description=A service
DefaultDependencies=no
[Service]
MemoryMax=64M
ExecStart=/usr/bin/busybox sleep 100000
"""


def libraries(program: str) -> set[str]:
    """What the program loads, and systemd's own by name."""
    words = run("ldd", program).split()
    return {word for word in words if word.startswith("/")}


@pytest.fixture(scope="module")
def image(service: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """systemd, one service and nothing else: as much as the emulation has time for."""
    root = tmp_path_factory.mktemp("systemd")
    programs = [path for path in PROGRAMS if Path(path).exists()]
    wanted = {*programs, *(one for path in programs[:-1] for one in libraries(path))}
    for path in wanted:
        target = root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in HALT:
        shutil.copy2(f"{UNITS}/{name}", units)
    (units / "default.target").write_text(TARGET)
    (units / "web.service").write_text(SERVICE)
    (root / "etc/machine-id").touch()
    (root / "etc/os-release").write_text("ID=test\n")
    run("tar", "-C", str(root), "-cf", f"{root}.tar", ".")
    ok("import", f"{root}.tar", "systemd")
    Path(f"{root}.tar").unlink()
    return "systemd"


@pytest.mark.parametrize("flags", [(), ("--userns=auto",)])
def test_it_boots_divides_its_cgroup_and_halts(clean: str, image: str, flags: tuple[str, ...]):
    ok("run", "-d", "--name", "one", "--network=none", *flags, image, "/usr/lib/systemd/systemd")
    pid = state("one")["Pid"]
    assert (Path(f"/proc/{pid}").stat().st_uid == 0) is not bool(flags)
    group = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
    own = Path(f"/sys/fs/cgroup{group.removesuffix('/init.scope')}")
    limit = own / "system.slice/web.service/memory.max"
    wait_until(lambda: limit.exists() and limit.read_text() == f"{64 << 20}\n")
    # Its processes are in groups below by now, where the kernel lets no process into their parent.
    answer = ok("exec", "one", "systemctl", "is-active", "web.service", "default.target")
    assert answer.split() == ["active", "active"]
    ok("stop", "--time=60", "one")
    assert state("one")["ExitCode"] == 0
    assert not own.exists()
