"""One golden file per option: what it changes against the default spec.

RUNENGINE_UPDATE_GOLDEN=1 rewrites the files; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runengine.linux.devices import DeviceEntry
from runengine.oci_spec import runtime, ulimits, user_mounts
from runengine.oci_spec.cdi import Edits, Hook
from runengine.oci_spec.users import User
from tests.support import specs

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "RUNENGINE_UPDATE_GOLDEN" in os.environ

SDA = {"Path": "/dev/sda"}
FUSE = DeviceEntry("/dev/fuse", "c", 10, 229, 0o666, 0, 0, "rw")
LOOP = DeviceEntry("/dev/loop0", "b", 7, 0, 0o660, 0, 6)

WIDGET = Edits(
    env=("WIDGET=0", "PATH=/widget/bin"),
    devices=(LOOP,),
    mounts=({"destination": "/etc/widget", "type": "bind", "source": "/w", "options": ["bind"]},),
    hooks=(Hook("createContainer", {"path": "/bin/w", "args": ["w", "x"], "timeout": 5}),),
    additional_gids=(44,),
    intel_rdt={"closID": "widget"},
)

# Name: changes of ContainerConfig, HostConfig and SpecFacts.
Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "default": ({}, {}, {}),
    "annotations": ({}, {"Annotations": {"a.b": "c=d,e"}}, {}),
    "apparmor-default": ({}, {}, {"kernel": specs.KERNEL._replace(apparmor=True),
                                  "apparmor_profile": "runengine-default"}),
    "apparmor-named": ({}, {"SecurityOpt": ["seccomp=unconfined", "apparmor=mine"]},
                       {"kernel": specs.KERNEL._replace(apparmor=True)}),
    "blkio": ({}, {"BlkioWeight": 300, "BlkioWeightDevice": [{**SDA, "Weight": 200}],
                   "BlkioDeviceReadBps": [{**SDA, "Rate": 1 << 20}],
                   "BlkioDeviceWriteBps": [{**SDA, "Rate": 2 << 20}],
                   "BlkioDeviceReadIOps": [{**SDA, "Rate": 100}],
                   "BlkioDeviceWriteIOps": [{**SDA, "Rate": 200}]},
              {"block_devices": {"/dev/sda": (8, 70000)}}),
    "cap-add-all-drop-one": ({}, {"CapAdd": ["ALL"], "CapDrop": ["sys_admin"]}, {}),
    "cap-add-drop": ({}, {"CapAdd": ["NET_ADMIN"], "CapDrop": ["CAP_MKNOD"]}, {}),
    "cap-drop-all-add": ({}, {"CapDrop": ["all"], "CapAdd": ["net_raw"]}, {}),
    "cgroupns-host": ({}, {"CgroupnsMode": "host"}, {}),
    "cgroupns-private-v1": ({}, {"CgroupnsMode": "private"}, {"kernel": specs.OLD_KERNEL}),
    "command": ({}, {}, {"args": ["/bin/echo", "a b", ""], "cwd": "/srv", "env": ["A=b c", "E="]}),
    "cpu": ({}, {"CpuShares": 512, "CpuQuota": 50000, "CpuPeriod": 100000, "CpusetCpus": "0-1",
                 "CpusetMems": "0", "CpuRealtimePeriod": 1000000, "CpuRealtimeRuntime": 950000},
            {}),
    "cpus": ({}, {"NanoCpus": 1_500_000_000}, {}),
    "device": ({}, {}, {"devices": [FUSE, LOOP]}),
    "device-cgroup-rule": ({}, {"DeviceCgroupRules": ["c 42:* rmw", "b *:* r", "a *:* rwm"]}, {}),
    "edits": ({}, {}, {"edits": [WIDGET]}),
    "domainname": ({"Domainname": "example.org"}, {}, {}),
    "exec-cpu-affinity": ({}, {}, {"exec_cpu_affinity": {"initial": "0", "final": "2-3"}}),
    "hugetlb": ({}, {"HugetlbLimits": [{"PageSize": "2MB", "Limit": 1 << 30}]}, {}),
    "init": ({}, {}, {"init_path": "/usr/bin/tini-static"}),
    "init-pid-host": ({}, {"PidMode": "host"}, {"init_path": "/usr/bin/tini-static"}),
    "ipc-container": ({}, {"IpcMode": "container:x"},
                      {"namespaces": {"ipc": "/proc/7/ns/ipc"}, "shm_path": "/run/x/shm"}),
    "ipc-host": ({}, {"IpcMode": "host"}, {"shm_path": "/dev/shm"}),
    "ipc-none": ({}, {"IpcMode": "none"}, {}),
    "ipc-shareable": ({}, {"IpcMode": "shareable"}, {"shm_path": "/run/runengine/x/shm"}),
    "joined": ({}, {"NetworkMode": "container:x", "PidMode": "container:x", "UTSMode":
                    "container:x"},
               {"namespaces": {"network": "/proc/7/ns/net", "pid": "/proc/7/ns/pid",
                               "uts": "/proc/7/ns/uts"}}),
    "mask-unmask": ({}, {"SecurityOpt": ["seccomp=unconfined", "mask=/proc/a:/proc/b",
                                         "unmask=/proc/k*:/proc/sys"]}, {}),
    "memory-policy": ({}, {"NumaNode": "1", "CpusetCpus": "4-7", "CpusetMems": "1"},
                      {"memory_policies": ("MPOL_DEFAULT", "MPOL_BIND")}),
    "memory-policy-unknown": ({}, {"NumaNode": "1", "CpusetCpus": "4-7", "CpusetMems": "1"}, {}),
    "memory": ({}, {"Memory": 64 << 20, "MemoryReservation": 32 << 20, "MemorySwap": -1,
                    "MemorySwappiness": 0, "OomKillDisable": True}, {}),
    "mount-bind": ({}, {"Mounts": [
        {"Type": "bind", "Source": "/a", "Target": "/x/y", "ReadOnly": True,
         "BindOptions": {"NonRecursive": True, "Propagation": "private"}},
        {"Type": "bind", "Source": "/b", "Target": "/x", "ReadOnly": True,
         "BindOptions": {"ReadOnlyNonRecursive": True}},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o1777}},
    ]}, {}),
    "mount-dev": ({}, {"Binds": ["/dev:/dev"]}, {}),
    "network-files": ({}, {}, {"network_files": {"/etc/hosts": "/d/hosts",
                                                 "/etc/resolv.conf": "/d/resolv.conf"}}),
    "network-host": ({}, {"NetworkMode": "host"}, {}),
    "network-netns": ({}, {"NetworkMode": "bridge"}, {"namespaces": {"network": "/run/netns/a"}}),
    "no-new-privileges": ({}, {"SecurityOpt": ["seccomp=unconfined", "no-new-privileges"]}, {}),
    "oom-score-adj": ({}, {"OomScoreAdj": -500}, {}),
    "pid-host": ({}, {"PidMode": "host"}, {}),
    "pids-limit": ({}, {"PidsLimit": 7}, {}),
    "pids-unlimited": ({}, {"PidsLimit": -1}, {}),
    "privileged": ({}, {"Privileged": True}, {
        "host_devices": [LOOP], "kernel": specs.KERNEL._replace(
            bounding=("CAP_CHOWN", "CAP_SYS_ADMIN"), apparmor=True)}),
    "privileged-read-only": ({}, {"Privileged": True, "ReadonlyRootfs": True}, {}),
    "read-only": ({}, {"ReadonlyRootfs": True}, {"network_files": {"/etc/hosts": "/d/hosts"}}),
    "shm-size": ({}, {"ShmSize": 1 << 20}, {}),
    "sysctl": ({}, {"Sysctls": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536",
                                "net/ipv4/conf/eth0.1/forwarding": "0"}}, {}),
    "systempaths-unconfined": (
        {}, {"SecurityOpt": ["seccomp=unconfined", "systempaths=unconfined"]}, {}),
    "tmpfs": ({}, {"Tmpfs": {"/run": "", "/tmp": "exec,size=64m,mode=1777", "/r": "ro"}}, {}),
    "tty": ({"Tty": True}, {}, {}),
    "ulimits": ({}, {"Ulimits": [ulimits.parse("nofile=1024:2048"), ulimits.parse("core=-1")]},
                {"rlimits": {"nofile": (1, 2), "nproc": (3, 4)}}),
    "user": ({}, {}, {"user": User(1000, 100, (100, 4), "/home/me", "me")}),
    "uts-host": ({}, {"UTSMode": "host"}, {}),
    "volumes": ({}, {"Binds": ["/a:/data/deep:ro", "/b:/data:shared", "/c:/etc/hosts:rw,Z"]},
                {"network_files": {"/etc/hosts": "/d/hosts"}}),
    "volumes-old-kernel": ({}, {"Binds": ["/a:/data:ro,slave"]}, {"kernel": specs.OLD_KERNEL}),
    "writable-cgroups": ({}, {"SecurityOpt": ["seccomp=unconfined", "writable-cgroups"]}, {}),
}  # fmt: skip


def built(name: str) -> dict[str, Any]:
    config, host, facts = CASES[name]
    points = user_mounts.resolve_all(specs.host(**host))
    return specs.build(config, host, **{"mounts": points, **facts})


def shown(name: str) -> Any:
    spec = built(name)
    if name == "default":
        return spec
    return specs.difference(specs.named(built("default")), specs.named(spec))


@pytest.mark.parametrize("name", CASES)
def test_option_changes_what_the_golden_file_says(name: str):
    path = GOLDEN / f"{name}.json"
    if UPDATE:
        path.write_text(json.dumps(shown(name), indent=1) + "\n")
    assert shown(name) == json.loads(path.read_text())


@pytest.mark.parametrize("name", CASES)
def test_every_spec_fits_the_runtime_specs_models(name: str):
    runtime.Spec.model_validate(built(name))


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.json")} == {*CASES, "seccomp-default"}


def test_no_two_options_have_the_same_effect():
    # An init is left out where the command is not pid 1 anyway.
    names = [name for name in CASES if name != "init-pid-host"]
    texts = [json.dumps(shown(name), sort_keys=True) for name in names]
    assert len(set(texts)) == len(texts)
    assert "{}" not in texts
