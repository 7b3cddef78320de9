"""What doctor makes of a host, on made-up ones."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from runengine import config, front
from runengine.errors import RuntimeFailed, Unsupported
from runengine.launcher import main as launcher
from runengine.linux import libc
from runengine.mgr.doctor import examine, service
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Host, Probes
from runengine.paths import Paths

ALL = (1 << 41) - 1
FEATURES = {
    "mountOptions": ["rro"],
    "linux": {"mountExtensions": {"idmap": {"enabled": True}}},
}
MOUNTS = """\
1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw,prjquota
2 1 0:2 / /run rw - tmpfs tmpfs rw
3 1 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
"""
# A host that has everything.
FILES = {
    "/proc/self/status": f"Seccomp:\t0\nCapBnd:\t{ALL:x}\nCapEff:\t{ALL:x}\n",
    "/proc/self/oom_score_adj": "0\n",
    "/proc/self/mountinfo": MOUNTS,
    "/proc/sys/kernel/osrelease": "6.12.1\n",
    "/proc/sys/kernel/random/boot_id": "x\n",
    "/proc/sys/kernel/pid_max": "4194304\n",
    "/proc/sys/kernel/threads-max": "100000\n",
    "/proc/sys/kernel/cap_last_cap": "40\n",
    "/proc/sys/user/max_user_namespaces": "1000\n",
    "/proc/sys/fs/inotify/max_user_instances": "1024\n",
    "/proc/sys/fs/inotify/max_user_watches": "500000\n",
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n",
    "/proc/sys/net/netfilter/nf_conntrack_max": "1000\n",
    "/proc/sys/net/netfilter/nf_conntrack_count": "1\n",
    "/proc/filesystems": "nodev\toverlay\n",
    "/proc/pressure/cpu": "",
    "/proc/locks": "",
    "/proc/stat": "btime 1\n",
    "/proc/uptime": "7200.5 1\n",
    "/sys/module/apparmor/parameters/enabled": "Y\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpu cpuset io memory pids\n",
    "/sys/fs/cgroup/a/cgroup.freeze": "",
    "/sys/fs/cgroup/a/cgroup.controllers": "cpu cpuset io memory pids\n",
    "/sys/fs/cgroup/a/cpu.max": "",
    "/sys/fs/cgroup/a/io.max": "",
    "/sys/fs/cgroup/a/io.weight": "",
    "/sys/fs/cgroup/a/memory.current": "",
    "/sys/fs/cgroup/a/memory.peak": "",
    "/sys/fs/cgroup/a/memory.swap.max": "",
    "/etc/resolv.conf": "nameserver 192.0.2.1\n",
}
PROGRAMS = ("/usr/sbin/runc", "/usr/sbin/nft", "/usr/sbin/apparmor_parser", "/usr/sbin/criu",
            "/usr/bin/tini-static", "/usr/bin/buildah")  # fmt: skip
FOLDERS = ("/run/systemd/system", "/run/runengine", "/var/lib/runengine",
           *(f"/proc/self/ns/{n}" for n in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")))


def said(words) -> str:
    if "check" in words:
        return f"{words[-1]} is supported\n"
    return f"{Path(words[0]).name} 1.2.3\nmore\n"


def probes(**changes) -> Probes:
    answers = {
        "system_call": lambda _: True,
        "driver": lambda _: True,
        "nftables": lambda: None,
        "d_type": lambda _: True,
        "output": said,
        "features": lambda _: FEATURES,
    }
    return Probes(**{**answers, **changes})


@pytest.fixture
def host(tmp_path):
    """Make a host that has everything but what the arguments change; None removes a file."""

    def make(files=None, *, programs=PROGRAMS, settings=None, is_root=True, **changes) -> Host:
        for path, text in {**FILES, **(files or {})}.items():
            if text is not None:
                place = Path(f"{tmp_path}{path}")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        for path in programs:
            place = Path(f"{tmp_path}{path}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch(mode=0o755)
        for path in FOLDERS:
            Path(f"{tmp_path}{path}").mkdir(parents=True, exist_ok=True)
        paths = Paths()
        chosen = config.defaults(paths)._replace(**(settings or {}))
        return Host(paths, probes(**changes), chosen, None, str(tmp_path), is_root)

    return make


def findings(host: Host) -> dict:
    return {f.name: f for section in examine.examine_host(host) for f in section.findings}


def refuse(error):
    def answer(*_):
        raise error

    return answer


def test_a_host_that_has_everything(host):
    found = findings(host())
    odd = {f.name: f for f in found.values() if f.status != OK}
    # What this test's own process has is not of the made-up host; and nothing serves there.
    assert set(odd) - {"open files", "space", "inodes"} == {"service"}
    assert examine.is_healthy(examine.examine_host(host()))


@pytest.mark.parametrize(
    ("changes", "name", "status", "words"),
    [
        ({"/proc/sys/kernel/osrelease": "5.4.0\n"}, "version", PROBLEM, "older than 5.11"),
        ({"/proc/filesystems": "ext4\n"}, "overlay", PROBLEM, "no container has a root"),
        ({"/proc/sys/kernel/osrelease": "5.15.0\n"}, "idmapped mounts", NOTE, "5.19"),
        ({"/proc/sys/user/max_user_namespaces": "0\n"}, "user namespaces", NOTE, "unshare"),
        ({"/proc/sys/kernel/random/boot_id": None}, "boot id", PROBLEM, "reboot"),
        ({"/proc/self/status": "CapBnd:\t0\nCapEff:\t0\n"}, "seccomp", PROBLEM, "every system"),
        ({"/proc/self/status": "Seccomp:\t0\nCapBnd:\t0\nCapEff:\t0\n"}, "capabilities", PROBLEM,
         "CAP_SYS_ADMIN"),
        ({"/proc/self/status": f"Seccomp:\t0\nCapBnd:\t{ALL - (1 << 24):x}\nCapEff:\t{ALL:x}\n"},
         "capabilities", NOTE, "CAP_SYS_RESOURCE"),
        ({"/sys/module/apparmor/parameters/enabled": "N\n"}, "AppArmor", NOTE, "off"),
        ({"/sys/fs/selinux/enforce": "1"}, "SELinux", NOTE, "enforcing; the policy has no"),
        ({"/sys/fs/selinux/enforce": "0", "/usr/share/containers/selinux/contexts":
          "process = 'a:b:c:s0'\nfile = 'a:b:d:s0'\n"}, "SELinux", OK, "permissive; containers"),
        ({"/sys/fs/cgroup/cgroup.controllers": "cpu\n"}, "controller memory", NOTE, "no memory"),
        ({"/sys/fs/cgroup/cgroup.controllers": None}, "version", NOTE, "v1 beside v2"),
        ({"/sys/fs/cgroup/cgroup.controllers": None, "/proc/self/mountinfo": MOUNTS
          + "4 3 0:4 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"}, "version", PROBLEM,
         "/sys/fs/cgroup/memory is mounted and not there"),
        ({"/sys/fs/cgroup/a/memory.peak": None}, "peak memory", NOTE, "5.19"),
        ({"/sys/fs/cgroup/a/memory.swap.max": None}, "limits", NOTE, "--memory-swap"),
        ({"/sys/fs/cgroup/a/cgroup.freeze": None}, "freezer", NOTE, "no pause"),
        ({"/proc/pressure/cpu": None}, "pressure (PSI)", NOTE, "off"),
        ({"/proc/sys/net/ipv4/ip_forward": "0\n"}, "forwarding", NOTE, "switches it on"),
        ({"/proc/sys/net/ipv6/conf/all/disable_ipv6": "1\n"}, "IPv6", NOTE, "switched off"),
        ({"/proc/sys/net/netfilter/nf_conntrack_count": "999\n"}, "conntrack", NOTE, "dropped"),
        ({"/proc/sys/net/bridge/bridge-nf-call-iptables": "1"}, "br_netfilter", OK, "frames"),
        ({"/etc/resolv.conf": "\n"}, "name servers", NOTE, "none in /etc/resolv.conf"),
        ({"/proc/self/mountinfo": MOUNTS.replace("ext4", "overlay")}, "filesystem", PROBLEM,
         "no writable layer"),
        ({"/proc/self/mountinfo": MOUNTS.replace("rw,relatime", "ro")}, "filesystem", PROBLEM,
         "read-only"),
        ({"/proc/self/mountinfo": MOUNTS.replace("ext4", "tmpfs")}, "filesystem", NOTE, "reboot"),
        ({"/proc/self/mountinfo": MOUNTS.replace(",prjquota", "")}, "project quota", NOTE, "off"),
        ({"/proc/sys/fs/inotify/max_user_instances": "8\n"}, "inotify instances", NOTE, "8 per"),
        ({"/proc/sys/kernel/pid_max": "1000\n"}, "processes", NOTE, "1000"),
    ],
)  # fmt: skip
def test_what_is_amiss(host, changes, name, status, words):
    found = findings(host(changes))[name] if name != "version" else _version(host(changes), status)
    assert found.status == status
    assert words in found.seen
    assert found.remedy or status == OK or name == "capabilities"


def _version(host: Host, status: str):
    """Two sections have a version."""
    every = [f for s in examine.examine_host(host) for f in s.findings if f.name == "version"]
    return next(finding for finding in every if finding.status == status)


@pytest.mark.parametrize(
    ("lacking", "name", "status"),
    [
        ("runc", "runtime runc", PROBLEM),
        ("nft", "nft", PROBLEM),
        ("apparmor_parser", "AppArmor", PROBLEM),
        ("tini-static", "init", NOTE),
        ("criu", "criu", NOTE),
        ("buildah", "buildah", NOTE),
    ],
)
def test_programs(host, lacking, name, status):
    found = findings(host(programs=[p for p in PROGRAMS if Path(p).name != lacking]))[name]
    assert found.status == status
    assert "apt-get install" in found.remedy


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("external_net_ns is supported\n", OK),
        ("Warn: kdat\nexternal_net_ns is supported\n", OK),
        ("external_net_ns is not supported\n", NOTE),
        ("criu: unknown feature\n", NOTE),
    ],
)
def test_what_criu_can_do(host, answer, status):
    made = host(output=lambda _: answer)
    assert findings(made)["checkpoints"].status == status
    assert "checkpoints" not in findings(host(output=lambda _: answer, is_root=False))
    without = host(programs=[p for p in PROGRAMS if Path(p).name != "criu"])
    (Path(without.root) / "usr/sbin/criu").unlink()
    assert "checkpoints" not in findings(without)


@pytest.mark.parametrize(
    ("answers", "name", "status"),
    [
        ({"system_call": lambda number: number != libc.SYS_OPENAT2}, "system calls", PROBLEM),
        ({"system_call": lambda n: n != libc.SYS_MOUNT_SETATTR}, "mount calls", NOTE),
        ({"driver": lambda name: name != "veth"}, "veth", PROBLEM),
        ({"driver": lambda name: name != "macvlan"}, "macvlan", NOTE),
        ({"nftables": refuse(Unsupported("no nftables"))}, "nftables", PROBLEM),
        ({"d_type": lambda _: False}, "d_type", PROBLEM),
        ({"d_type": refuse(PermissionError(13, "Permission denied"))}, "entry types", NOTE),
        ({"features": refuse(RuntimeFailed("what?"))}, "runtime runc", NOTE),
        ({"output": refuse(OSError(8, "Exec format error"))}, "runtimes", NOTE),
    ],
)
def test_answers(host, answers, name, status):
    found = findings(host(**answers))[name]
    assert (found.status, bool(found.seen)) == (status, True)


def test_a_module_that_is_only_installed_is_not_asked_for(host):
    """Asking for an interface would load it."""
    modules = "".join(f"kernel/net/{n}.ko.xz:\n" for n in ("veth", "bridge", "mac_vlan", "ipvlan"))
    asked = []

    def ask(name):
        asked.append(name)
        return True

    found = findings(
        host({"/lib/modules/6.12.1/modules.dep": modules, "/sys/module/bridge/x": ""},
             driver=ask)
    )  # fmt: skip
    assert found["interfaces"].seen == (
        "bridge, veth (as a module), macvlan, ipvlan (as a module)"
    )
    assert asked == ["macvlan"]


def test_a_way_that_root_in_a_user_namespace_cannot_go(host, tmp_path):
    made = host()
    assert "way to the state" not in findings(made)
    (tmp_path / "run").chmod(0o700)
    found = findings(made)["way to the state"]
    assert (found.status, found.remedy) == (NOTE, "chmod o+x /run, or another --state")


def test_without_root(host):
    made = host(is_root=False)
    found = findings(made)
    assert found["privileges"].status == NOTE
    for name in ("interfaces", "nftables", "capabilities"):
        assert "without root" in found[name].seen
    assert examine.is_healthy(examine.examine_host(made))


def test_a_root_directory_with_nothing_in_it(tmp_path):
    """Every check ends in a finding: this host is not one."""
    bare = Host(Paths(), probes(), config.defaults(Paths()), None, str(tmp_path))
    found = findings(bare)
    assert {f.status for f in found.values()} == {OK, NOTE, PROBLEM}
    assert "/proc is not mounted here" in found["version"].seen


def test_a_check_that_fails_is_a_finding(host, monkeypatch):
    def odd(_host):
        yield from ()
        raise RuntimeError("bang")

    monkeypatch.setattr(examine, "SECTIONS", (("A", (odd,)),))
    (section,) = examine.examine_host(host())
    assert [(f.name, f.status) for f in section.findings] == [("odd", NOTE)]
    assert "bang" in section.findings[0].seen


def test_a_damaged_configuration_file(tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    file.write_text('{"runtimes": 5}')
    monkeypatch.setenv("RUNENGINE_CONFIG", str(file))
    made = examine.this_host(Paths())
    assert "runtimes" in str(made.settings_error)
    bad = made._replace(probes=probes(), root=str(tmp_path))
    assert findings(bad)["settings"].status == PROBLEM


def test_the_driver_systemd_needs_systemd(host, tmp_path):
    made = host(settings={"cgroup_driver": "systemd"})
    assert findings(made)["driver"].status == OK
    (tmp_path / "run/systemd/system").rmdir()
    assert findings(made)["driver"].status == PROBLEM


def test_names_that_the_launcher_has_too():
    assert service.LOCK_NAME == launcher.LOCK_NAME
    assert service.SOCKET_NAME == front.SOCKET_NAME


@pytest.mark.parametrize(
    ("boot", "with_socket", "status", "words"),
    [
        ("btime 99999999999\n", True, OK, "running (pid {})"),
        ("btime 99999999999\n", False, NOTE, "is gone"),
        ("btime 1\n", True, NOTE, "older than the program"),
    ],
)
def test_the_service(host, boot, with_socket, status, words):
    made = host({"/proc/stat": boot})
    lock = Path(made.path(f"/run/runengine/{service.LOCK_NAME}"))
    lock.touch()
    seen = lock.stat()
    device = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}"
    Path(made.path("/proc/locks")).write_text(
        f"1: POSIX ADVISORY WRITE 1 {device}:{seen.st_ino} 0 EOF\n"
        f"2: FLOCK ADVISORY WRITE {os.getpid()} {device}:{seen.st_ino} 0 EOF\n"
    )
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        if with_socket:
            # Its address is too long where the made-up host is.
            listener.bind(f"{short}/s")
            os.link(f"{short}/s", made.path(f"/run/runengine/{service.SOCKET_NAME}"))
        found = findings(made)["service"]
    assert found.status == status
    assert words.format(os.getpid()) in found.seen
