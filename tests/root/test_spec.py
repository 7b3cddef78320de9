"""Real runc runs the built specs; what they promise is looked at from inside."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from runengine.cgroups import counters, layout
from runengine.linux import devices, mount
from runengine.oci_spec import init, propagation, ulimits, user_mounts
from tests.support import needs, specs
from tests.support.box import HERE, Box, capabilities, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "busybox")]


@pytest.fixture
def box(tmp_path: Path, busybox_tar: Path) -> Iterator[Box]:
    made = Box(tmp_path, busybox_tar)
    yield made
    made.clear()


# --- process ---------------------------------------------------------------------------------


def test_process_as_seen_from_inside(box):
    text = box.sh("cat /proc/self/status; env; pwd; hostname", cwd="/tmp", env=["A=b c"])
    fields = status(text)
    default = set(specs.build()["process"]["capabilities"]["bounding"])
    assert capabilities(text) == capabilities(text, "CapBnd") == default
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0
    assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "0")
    assert "A=b c" in text
    assert "HOME=/root" in text
    assert text.splitlines()[-2:] == ["/tmp", "box"]


def test_arguments_arrive_as_they_are(box):
    done = box.run("/bin/printf", "%s|", "", "a b", "*", "é")
    assert done.stdout == "|a b|*|é|"


def test_a_user_has_its_groups_and_no_capabilities(box):
    text = box.sh("cat /proc/self/status", user="nobody")
    fields = status(text)
    assert fields["Uid"].split() == ["65534"] * 4
    assert capabilities(text) == capabilities(text, "CapPrm") == set()
    assert fields["Groups"].split() == ["65534"]
    assert "Groups:\t0 10" in box.sh("cat /proc/self/status")


def test_capabilities_can_be_added_and_dropped(box):
    text = box.sh("cat /proc/self/status", CapAdd=["SYS_TIME"], CapDrop=["ALL"])
    assert capabilities(text) == capabilities(text, "CapBnd") == {"CAP_SYS_TIME"}


def test_no_new_privileges(box):
    assert "NoNewPrivs:\t1" in box.sh(
        "cat /proc/self/status", SecurityOpt=["no-new-privileges:true"]
    )


def test_rlimits_and_oom_score(box):
    limits = [ulimits.parse("nofile=77:88"), ulimits.parse("core=0")]
    out = box.sh(
        "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj",
        Ulimits=limits,
        OomScoreAdj=321,
    )
    assert out.split() == ["77", "88", "0", "321"]


@needs("tini-static")
def test_an_init_is_pid_1_and_reaps(box):
    path = init.find_init()
    out = box.sh("cat /proc/1/comm; echo $$; touch /sbin/docker-init && echo writable || true",
                 init_path=path)  # fmt: skip
    assert out.split()[:2] == ["docker-init", out.split()[1]]
    assert out.split()[1] != "1"
    assert "writable" not in out


# --- file systems ----------------------------------------------------------------------------


def mounted(text: str) -> dict[str, mount.MountInfo]:
    return {entry.target: entry for entry in mount.parse_mountinfo(text)}


def test_default_mounts(box):
    table = mounted(box.sh("cat /proc/self/mountinfo"))
    for target, kind in {
        "/proc": "proc",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
    }.items():
        assert table[target].fstype == kind
        assert "nosuid" in table[target].options
    assert table["/sys"].options.startswith("ro")
    assert all(
        entry.options.startswith("ro")
        for target, entry in table.items()
        if target.startswith("/sys/")
    )
    assert not any(entry.propagation for entry in table.values() if entry.target != "/")


def test_masked_and_read_only_paths(box):  # AA-09
    script = """
    cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts | wc -c
    ls -A /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c . || true
    for path in /proc/sys/vm/swappiness /proc/sysrq-trigger /sys/kernel/mm/ksm/run; do
        if [ -e $path ] && (echo 0 >$path) 2>/dev/null; then echo "wrote $path"; fi
    done
    """
    assert box.sh(script).split() == ["0", "0"]
    assert "Read-only" in box.run("/bin/touch", "/sys/fs/cgroup/x").stderr


def test_writable_cgroups(box):
    script = "d=$(ls -d /sys/fs/cgroup/memory || echo /sys/fs/cgroup); mkdir $d/x && rmdir $d/x"
    box.sh(script, SecurityOpt=["writable-cgroups"], CgroupnsMode="private")
    assert box.run("/bin/sh", "-ec", script).returncode != 0


def test_system_paths_can_be_unmasked(box):
    out = box.sh("wc -c </proc/interrupts; head -c4 /proc/timer_list || true",
                 SecurityOpt=["systempaths=unconfined"])  # fmt: skip
    assert int(out.split()[0]) > 0


def test_standard_devices_and_no_others(box):  # AA-10
    out = box.sh("ls /dev; head -c2 /dev/zero | wc -c; echo x >/dev/null; : </dev/full; echo 1")
    assert set(out.split()) - {"1", "2", "core"} == {
        *("fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr"),
        *("stdin", "stdout", "tty", "urandom", "zero"),
    }


def test_a_device_outside_the_list_cannot_be_opened(box):
    script = "mknod /tmp/m c 1 11 && (head -c1 /dev/null </tmp/m) 2>&1 || true"
    assert "not permitted" in box.sh(script)
    given = [devices.entry("/dev/kmsg", "/dev/log0", "r")]
    assert box.sh("ls -l /dev/log0 && : </dev/log0", devices=given, CapAdd=["SYSLOG"])
    refused = box.run("/bin/sh", "-c", ": >/dev/log0", devices=given, CapAdd=["SYSLOG"])
    assert "not permitted" in refused.stderr
    rule = {"DeviceCgroupRules": ["c 1:11 r"], "CapAdd": ["SYSLOG"]}
    box.sh("mknod /tmp/k c 1 11 && : </tmp/k", **rule)


def test_read_only_root_with_writable_tmpfs(box):
    out = box.sh(
        "touch /x 2>&1 || true; touch /run/y; df -k /run | tail -1; stat -c %a /run",
        ReadonlyRootfs=True,
        Tmpfs={"/run": "size=1m,mode=1711"},
    )
    assert "Read-only file system" in out
    assert " 1024 " in out
    assert out.split()[-1] == "1711"


def test_shared_memory_size(box):
    assert " 65536 " in box.sh("df -k /dev/shm")
    assert " 1024 " in box.sh("df -k /dev/shm", ShmSize=1 << 20)
    assert "/dev/shm" not in box.sh("cat /proc/mounts", IpcMode="none")


def test_parents_are_mounted_before_their_children(box, tmp_path):  # P-18
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "outer" / "deep").mkdir()
    binds = [f"{tmp_path}/inner:/data/deep", f"{tmp_path}/outer:/data"]
    assert box.sh("cat /data/file /data/deep/file", Binds=binds) == "outerinner"


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A folder with a mount below it."""
    (tmp_path / "top" / "below").mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "below", tmp_path / "top" / "below"], check=True
    )
    yield tmp_path / "top"
    mount.unmount(str(tmp_path / "top" / "below"))


def test_a_read_only_bind_is_read_only_all_the_way_down(box, nested):  # AB-06
    if not HERE.recursive_readonly:
        pytest.skip("kernel older than 5.12")
    script = "touch /d/a 2>/dev/null || echo top; touch /d/below/a 2>/dev/null || echo below"
    assert box.sh(script, Binds=[f"{nested}:/d:ro"]).split() == ["top", "below"]
    writable = {"Type": "bind", "Source": str(nested), "Target": "/d", "ReadOnly": True,
                "BindOptions": {"ReadOnlyNonRecursive": True}}  # fmt: skip
    assert box.sh(script, Mounts=[writable]).split() == ["top"]
    alone = {**writable, "BindOptions": {"NonRecursive": True}}
    assert box.sh("grep -c ' /d/below ' /proc/mounts || true", Mounts=[alone]).strip() == "0"


@pytest.mark.parametrize(
    ("word", "marks"), [("rprivate", set()), ("rshared", {"shared"}), ("rslave", {"master"})]
)
def test_propagation(box, tmp_path, word, marks):  # AB-01 to AB-04
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "shared", source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        points = user_mounts.resolve_all(specs.host(Binds=[f"{source}:/d:{word}"]))
        propagation.check_propagation(points, mount.mounts())
        text = box.sh("cat /proc/self/mountinfo", Binds=[f"{source}:/d:{word}"])
        found = {entry.partition(":")[0] for entry in mounted(text)["/d"].propagation}
        assert found == marks
    finally:
        mount.unmount(str(source))


def test_network_files_and_users_mounts_over_them(box, tmp_path):  # P-17
    for name in ("hosts", "mine"):
        (tmp_path / name).write_text(name)
    files = {"/etc/hosts": str(tmp_path / "hosts")}
    assert box.sh("cat /etc/hosts", network_files=files) == "hosts"
    binds = [f"{tmp_path}/mine:/etc/hosts"]
    assert box.sh("cat /etc/hosts", network_files=files, Binds=binds) == "mine"


# --- namespaces ------------------------------------------------------------------------------

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


def namespaces_of(box: Box, **changes: Any) -> set[str]:
    """Namespaces that are the host's."""
    text = box.sh("for n in " + " ".join(NAMESPACES) + "; do readlink /proc/self/ns/$n; done",
                  **changes)  # fmt: skip
    mine = {os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}
    return {link.partition(":")[0] for link in text.split() if link in mine}


def test_namespaces(box):  # AA-12
    default = {"cgroup"} if HERE.cgroup_version == 1 else set()
    assert namespaces_of(box) == default
    assert namespaces_of(box, CgroupnsMode="private") == set()
    assert namespaces_of(box, CgroupnsMode="host") == {"cgroup"}
    everything = {"PidMode": "host", "UTSMode": "host", "NetworkMode": "host", "IpcMode": "host"}
    found = namespaces_of(box, **everything, shm_path="/dev/shm")
    assert found == default | {"pid", "uts", "net", "ipc"}


def test_joined_namespaces(box):
    with subprocess.Popen(["unshare", "-iun", "sh", "-c", "hostname them; echo; exec sleep 60"],
                          stdout=subprocess.PIPE) as other:  # fmt: skip
        try:
            assert other.stdout is not None
            other.stdout.readline()
            files = {"ipc": "ipc", "uts": "uts", "network": "net"}
            joined = {kind: f"/proc/{other.pid}/ns/{file}" for kind, file in files.items()}
            modes = dict.fromkeys(("IpcMode", "UTSMode", "NetworkMode"), "container:other")
            out = box.sh("hostname; readlink /proc/self/ns/net", namespaces=joined, **modes)
            assert out.split() == ["them", os.readlink(f"/proc/{other.pid}/ns/net")]
        finally:
            other.kill()


def test_sysctls_of_its_own_namespaces(box):
    out = box.sh(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax"
        " /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward",
        Sysctls={"kernel.msgmax": "4242", "net/ipv4/ip_forward": "1"},
        config={"Domainname": "example.org"},
    )
    assert out.split() == ["0", "4242", "example.org", "1"]


# --- control groups --------------------------------------------------------------------------


@needs("cgroup1")
def test_limits_reach_cgroup_v1(box):
    script = """
    cd /sys/fs/cgroup
    cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max
    cat cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus
    """
    out = box.sh(
        script,
        Memory=64 << 20,
        MemoryReservation=32 << 20,
        PidsLimit=33,
        CpuShares=512,
        NanoCpus=500_000_000,
        CpusetCpus="0",
    )
    assert out.split() == [str(64 << 20), str(32 << 20), "33", "512", "50000", "100000", "0"]


@needs("cgroup2")
def test_limits_reach_cgroup_v2(box):
    out = box.sh(
        "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max cpuset.cpus",
        Memory=64 << 20,
        PidsLimit=33,
        NanoCpus=500_000_000,
        CpusetCpus="0",
    )
    assert out.split() == [str(64 << 20), "33", "50000", "100000", "0"]


def test_the_default_pids_limit_holds(box):
    done = box.run(
        "/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait", default_pids_limit=4
    )
    assert "fork" in done.stderr


def test_processes_and_counters_are_found_by_the_path(box):
    box.start(box.spec("/bin/sleep", "60"))
    dirs = layout.cgroup_dirs(layout.container_path(box.name, "", "box"))
    state = json.loads(box.runc("state", box.name).stdout)
    assert layout.procs(dirs) == [state["pid"]]
    found = counters.read(dirs)
    for _ in range(200):  # the runtime's own threads leave a moment after it said it was done
        if found.pids == 1:
            break
        time.sleep(0.02)
        found = counters.read(dirs)
    assert found.pids == 1
    assert found.memory_bytes
    assert found.cpu_ns
    assert found.oom_kills == 0
    box.runc("delete", "--force", box.name)
    assert layout.procs(dirs) == []
    assert counters.read(dirs).pids is None
