"""Checks before anything is made (rows E-01, A-46, AA-03, AA-04), and that building is pure."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import ulimits, validate
from runengine.oci_spec.build import build_spec
from tests.support import specs


def check(config=None, host=None, **more):
    made = specs.config(**(config or {})), specs.host(**(host or {}))
    validate.check(*made, specs.KERNEL, **more)


def test_the_defaults_pass():
    check()


@pytest.mark.parametrize(
    ("config", "host", "words"),
    [
        ({"Hostname": "a b"}, {}, "--hostname"),
        ({"Domainname": "a\nb"}, {}, "--domainname"),
        ({"WorkingDir": "srv"}, {}, "working directory"),
        ({"WorkingDir": "/a\0"}, {}, "working directory"),
        ({"StopTimeout": -2}, {}, "--stop-timeout"),
        ({"Hostname": "a"}, {"UTSMode": "host"}, "hostname and the UTS mode"),
        ({"Hostname": "a"}, {"UTSMode": "container:x"}, "hostname and the UTS mode"),
        ({"Domainname": "a"}, {"UTSMode": "host"}, "hostname and the UTS mode"),
        (
            {},
            {"AutoRemove": True, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
            "restart policy",
        ),
        ({}, {"PidMode": "x"}, "--pid"),
        ({}, {"Binds": ["/a:b"]}, "invalid bind path"),
        ({}, {"Sysctls": {"vm.swappiness": "1"}}, "whole host"),
        ({}, {"CapAdd": ["BOGUS"]}, "unknown capability"),
        ({}, {"SecurityOpt": ["x=y"]}, "security-opt"),
        ({}, {"SecurityOpt": ["seccomp={}"]}, "invalid seccomp profile"),
        ({}, {"SecurityOpt": ["seccomp=/etc/p.json"]}, "must send the JSON itself"),
        ({}, {"DeviceCgroupRules": ["x"]}, "device cgroup rule"),
        ({}, {"Ulimits": [{"Name": "x", "Soft": 1, "Hard": 1}]}, "ulimit type"),
        ({}, {"Dns": ["x"]}, "--dns"),
        ({}, {"Annotations": {"": "x"}}, "annotation"),
        (
            {},
            {
                "Devices": [
                    {"PathOnHost": "/a", "PathInContainer": "b", "CgroupPermissions": "rwm"}
                ]
            },
            "not an absolute path",
        ),
    ],
)
def test_refused(config, host, words):
    with pytest.raises(InvalidParameter, match=words):
        check(config, host)


def test_not_there_yet():
    with pytest.raises(Unsupported):
        check(host={"UsernsMode": "keep-id"})


def test_stop_timeout_of_minus_one_waits_for_ever():  # Docker takes -1
    check({"StopTimeout": -1})


def test_ulimits_are_held_against_the_engines_own():
    host = {"Ulimits": [ulimits.parse("nofile=2000")]}
    check(host=host, hard_limits={"nofile": 1000})
    poor = specs.KERNEL._replace(effective=())
    with pytest.raises(InvalidParameter, match="CAP_SYS_RESOURCE"):
        validate.check(specs.config(), specs.host(**host), poor, {"nofile": 1000})


def test_what_the_kernel_lacks_is_discarded_with_a_warning():  # AA-03, AA-04
    kernel = specs.KERNEL._replace(seccomp=False, apparmor=False)
    host = specs.host(
        SecurityOpt=["seccomp={}", "apparmor=mine", "label=type:x", "no-new-privileges"]
    )
    found = validate.discard_unsupported(host, kernel)
    assert found.host["SecurityOpt"] == ["no-new-privileges"]
    assert found.warnings == [
        "Current Kernel does not support seccomp, discard --security-opt seccomp={}",
        "Current Kernel does not support apparmor, discard --security-opt apparmor=mine",
        "Current Kernel does not support SELinux labels, discard --security-opt label=type:x",
    ]
    assert len(host["SecurityOpt"]) == 4


def test_no_warning_for_what_was_not_asked():  # AA-03: Pouch warned always
    kernel = specs.KERNEL._replace(seccomp=False, apparmor=False)
    quiet = ["seccomp=unconfined", "apparmor:unconfined", "label=disable"]
    assert validate.discard_unsupported(specs.host(), kernel).warnings == []
    found = validate.discard_unsupported(specs.host(SecurityOpt=quiet), kernel)
    assert (found.warnings, found.host["SecurityOpt"]) == ([], quiet)


def test_building_leaves_its_inputs_alone_and_repeats():
    config, host, facts = specs.config(), specs.host(Binds=["/a:/b"]), specs.facts()
    before = copy.deepcopy((config, host))
    first = build_spec(config, host, facts)
    first["process"]["env"].append("X=1")
    first["linux"]["seccomp"]["syscalls"][0]["names"].clear()
    first["linux"]["maskedPaths"].clear()
    assert (config, host) == before
    again = build_spec(config, host, facts)
    assert "X=1" not in again["process"]["env"]
    assert again["linux"]["seccomp"]["syscalls"][0]["names"]
    assert again["linux"]["maskedPaths"]


START = """
import sys
before = set(sys.modules)
from runengine.linux import kernel
from runengine.model import container_config, host_config
from runengine.cgroups import features, layout, limits
from runengine.oci_spec import exec, merge, user_mounts, users, validate
from runengine.oci_spec.build import SpecFacts, build_spec
config, host, here = container_config(), host_config(), kernel.probe()
host["Binds"] = ["/a:/b:ro"]
host, _ = limits.check(host, features.Features())
validate.check(config, host, here)
build_spec(config, host, SpecFacts(
    container_id="a", rootfs="/r", hostname="h", args=["x"], env=[], cwd="/", kernel=here,
    user=users.resolve_user("1", "", ""), cgroups_path="/a", mounts=user_mounts.resolve_all(host)))
heavy = {"pydantic", "pyroute2", "requests", "asyncio", "subprocess", "csv", "ipaddress"}
print(*sorted((heavy | {"tempfile", "shutil", "logging", "click"}) & (set(sys.modules) - before)))
"""


@pytest.mark.side_effects
def test_a_start_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")
