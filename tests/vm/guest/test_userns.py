"""User namespaces with the installed service: cgroup v2, networks, this kernel, two runcs.

Debian's own maps no mounts, the newer one does and minds being told what it can see for itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runengine import Engine
from runengine.paths import Paths
from tests.support.vm_image import NEWER_RUNC
from tests.vm.guest import wires
from tests.vm.guest.installed import ROOT, STATE, inside, ok, run, start, state
from tests.vm.guest.wires import HOST_IP, get, web

pytestmark = pytest.mark.vm
MIB = 1 << 20
FIRST = 1 << 31
"""Of the host's ids that containers get."""
QUICK = ("--network=none", "--stop-signal=KILL")


@pytest.fixture
def newer(clean: str) -> str:
    """The flag for the newer runc."""
    missing = Path(NEWER_RUNC).with_name("missing")
    if missing.exists():
        pytest.skip(f"no newer runc: {missing.read_text().strip()}")
    assert run(NEWER_RUNC, "--version").split()[2] >= "1.2"
    return "--runtime=newer"


@pytest.fixture(params=["runc", "newer"])
def runtime(request: pytest.FixtureRequest, clean: str) -> str:
    """The flag for either of them."""
    if request.param == "newer":
        return str(request.getfixturevalue("newer"))
    return "--runtime=runc"


def control(name: str, file: str) -> str:
    """A control file of a container's group."""
    pid = state(name)["Pid"]
    group = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
    return Path(f"/sys/fs/cgroup{group}/{file}").read_text().strip()


def test_ids_of_an_automatic_map(runtime: str, tmp_path: Path):
    """Files of the image, a volume and a bind are root's inside, and so on the disk."""
    tmp_path.chmod(0o755)
    for above in tmp_path.parents:
        above.chmod(0o755)
    start("one", "touch /made; exec sleep 1000", runtime, *QUICK, "--userns=auto",
          "--memory=64m", "--pids-limit=50", "-v", "mine:/mine",
          "-v", f"{tmp_path}:/bind:idmap", "-v", f"{tmp_path}:/plain:ro")  # fmt: skip
    pid = state("one")["Pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST
    script = (
        "touch /mine/x /bind/x; stat -c %u:%g /bin /mine/x /bind/x /plain/x;"
        " grep Seccomp: /proc/self/status; cat /proc/self/uid_map; mkdir /sys/fs/cgroup/x || :"
    )
    words = ok("exec", "one", "sh", "-c", f"{{ {script}; }} 2>&1").split()
    assert words[:4] == ["0:0", "0:0", "0:0", "65534:65534"]
    assert words[4:9] == ["Seccomp:", "2", "0", str(FIRST), "65536"]
    assert " ".join(words[9:]).endswith("Read-only file system")
    assert (tmp_path / "x").stat().st_uid == 0
    assert inside(pid, "/bind/x").stat().st_uid == FIRST
    with Engine.open(Paths(ROOT, STATE)) as engine:
        found = engine.containers.stats("one", one_shot=True)
    assert found["memory_stats"]["limit"] == 64 * MIB
    assert found["pids_stats"]["current"] >= 1
    ok("update", "--pids-limit=20", "one")
    assert control("one", "pids.max") == "20"
    ok("restart", "one")
    assert ok("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", str(FIRST), "65536"]
    ok("rm", "-f", "one")
    ok("volume", "rm", "mine")


def test_maps_of_the_users(runtime: str):
    flags = ("--uidmap=0:300000:10", "--uidmap=10:400000:5", "--gidmap=0:500000:20")
    start("one", "exec sleep 1000", runtime, *QUICK, *flags)
    status = Path(f"/proc/{state('one')['Pid']}").stat()
    assert (status.st_uid, status.st_gid) == (300000, 500000)
    assert ok("exec", "--user=12:2", "one", "id", "-u") == "12"


def test_the_newer_one_without_a_namespace(newer: str):
    """The ordinary life of a container, which all other tests see with Debian's own."""
    start("one", "trap 'exit 7' TERM; while :; do sleep 0.2; done", newer, "--network=none",
          "--memory=64m", "-v", "mine:/mine")  # fmt: skip
    assert ok("exec", "one", "sh", "-c", "echo x >/mine/x; grep -c '' /mine/x") == "1"
    ok("update", "--memory=96m", "--memory-swap=96m", "one")
    assert control("one", "memory.max") == str(96 * MIB)
    ok("pause", "one")
    assert control("one", "cgroup.freeze") == "1"
    ok("unpause", "one")
    ok("stop", "one")
    assert state("one")["ExitCode"] == 7
    assert ok("run", "--rm", newer, "--network=none", "busybox", "echo", "hello") == "hello"
    ok("rm", "-v", "one")
    ok("volume", "rm", "mine")


def test_a_web_server_in_a_user_namespace(runtime: str):
    wires.lay()
    web("web", runtime, "--userns=auto", "-p", "8080:80",
        "--sysctl", "net.ipv4.tcp_syncookies=0")  # fmt: skip
    assert get(f"http://{HOST_IP}:8080/") == "web"
    shown = ok("exec", "web", "cat", "/proc/sys/net/ipv4/tcp_syncookies")
    assert shown == "0"
    # Its network is its own: root inside may change it, if it has the capability.
    web("open", runtime, "--userns=auto:size=1000", "--cap-add", "NET_ADMIN")
    ok("exec", "open", "ip", "link", "set", "lo", "down")
