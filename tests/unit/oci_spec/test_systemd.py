"""Containers whose process 1 is systemd: when, with what, and what keeps it from booting."""

from __future__ import annotations

from typing import Any

import pytest

from runengine.errors import InvalidParameter
from runengine.oci_spec import systemd
from tests.support import specs

V1 = specs.KERNEL._replace(cgroup_version=1)
OWN = "/sys/fs/cgroup/systemd/runengine/x"
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    "command",
    [
        ["/sbin/init"],
        ["/usr/sbin/init", "systemd.log_level=debug"],
        ["/usr/local/sbin/init"],
        ["systemd"],
        ["/usr/lib/systemd/systemd", "--system"],
    ],
)
def test_what_images_call_their_init(command: list[str]):
    assert systemd.is_wanted("", command)
    assert systemd.is_wanted("true", command)
    assert systemd.is_wanted("always", command)
    assert not systemd.is_wanted("false", command)


@pytest.mark.parametrize(
    "command", [[], ["init"], ["/init"], ["sh", "/sbin/init"], ["systemd-run"]]
)
def test_other_commands_are_none_unless_it_is_said(command: list[str]):
    assert not systemd.is_wanted("", command)
    assert not systemd.is_wanted("true", command)
    assert systemd.is_wanted("always", command)


def test_an_unknown_mode():
    with pytest.raises(InvalidParameter, match="invalid --systemd 'yes'"):
        systemd.is_wanted("yes", ["sh"])


@pytest.mark.parametrize(
    ("changes", "kernel", "cgroup", "told"),
    [
        ({"Init": True}, specs.KERNEL, {}, "--init is process 1"),
        ({"PidMode": "host"}, specs.KERNEL, {}, "--pid host"),
        ({"PidMode": "container:x"}, specs.KERNEL, {}, "--pid container:x"),
        ({"CgroupnsMode": "host"}, specs.KERNEL, {}, "needs a cgroup namespace"),
        ({}, specs.KERNEL._replace(namespaces=frozenset({"pid"})), {}, "needs a cgroup namespace"),
        ({}, V1, {"memory": "/m"}, "the hierarchy of its name"),
        ({"UsernsMode": "auto"}, V1, {"systemd": OWN}, "in a user namespace needs cgroup v2"),
    ],
)
def test_obstacles(changes: dict[str, Any], kernel: Any, cgroup: dict[str, str], told: str):
    found = systemd.obstacle(specs.host(**changes), kernel, cgroup)
    assert found is not None
    assert told in found.brief
    assert found.resolution


@pytest.mark.parametrize(
    ("changes", "kernel", "cgroup"),
    [
        ({}, specs.KERNEL, {"unified": "/u"}),
        ({"UsernsMode": "auto"}, specs.KERNEL, {"unified": "/u"}),
        ({"UsernsMode": "host", "CgroupnsMode": "private"}, V1, {"systemd": OWN}),
        # As it is done with Docker: the host's cgroups by the user's own will.
        ({"CgroupnsMode": "host", "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup"]}, specs.KERNEL, {}),
    ],
)
def test_no_obstacle(changes: dict[str, Any], kernel: Any, cgroup: dict[str, str]):
    assert systemd.obstacle(specs.host(**changes), kernel, cgroup) is None


def test_what_nobody_says_is_decided():
    config, host = specs.config(), specs.host()
    systemd.decide(config, host)
    assert (config["StopSignal"], host["CgroupnsMode"]) == ("SIGRTMIN+3", "private")
    config, host = specs.config(StopSignal="SIGINT"), specs.host(CgroupnsMode="host")
    systemd.decide(config, host)
    assert (config["StopSignal"], host["CgroupnsMode"]) == ("SIGINT", "host")


def mounts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The mounts by where they are; each place once."""
    places = [mount["destination"] for mount in spec["mounts"]]
    assert len(places) == len(set(places))
    return {mount["destination"]: mount for mount in spec["mounts"]}


def test_a_unified_hierarchy_is_writable():
    spec = specs.build(systemd="")
    found = mounts(spec)
    assert "rw" in found["/sys/fs/cgroup"]["options"]
    assert "ro" not in found["/sys/fs/cgroup"]["options"]
    assert "ro" in found["/sys"]["options"]
    assert "/sys/fs/cgroup/systemd" not in found
    for path, mode in (("/run", "755"), ("/run/lock", "1777"), ("/tmp", "1777")):
        assert found[path]["type"] == "tmpfs"
        assert f"mode={mode}" in found[path]["options"]
    assert found["/var/log/journal"]["type"] == "tmpfs"
    order = list(found)
    assert order.index("/run") < order.index("/run/lock")
    assert spec["process"]["env"][-2:] == ["container=runengine", f"container_uuid={UUID}"]


def test_of_v1_only_the_named_hierarchy_is_writable_below_its_own():
    found = mounts(specs.build(kernel=V1, systemd=OWN))
    assert "ro" in found["/sys/fs/cgroup"]["options"]
    own = found["/sys/fs/cgroup/systemd"]
    assert (own["type"], own["source"]) == ("bind", OWN)
    assert "ro" not in own["options"]
    assert list(found).index("/sys/fs/cgroup") < list(found).index("/sys/fs/cgroup/systemd")


def test_what_the_user_mounts_and_sets_stays():
    from runengine.oci_spec.mounts import MountPoint

    given = [MountPoint("bind", "/srv", place) for place in ("/tmp", "/run", "/sys/fs/cgroup")]
    spec = specs.build(
        env=["container=oci", "container_uuid=x"], mounts=given, kernel=V1, systemd=OWN
    )
    found = mounts(spec)
    assert {found[point.destination]["source"] for point in given} == {"/srv"}
    assert "/sys/fs/cgroup/systemd" not in found
    names = [item for item in spec["process"]["env"] if item.startswith("container")]
    assert names == ["container=oci", "container_uuid=x"]


def test_all_others_stay_as_they_are():
    spec = specs.build(systemd=None)
    assert spec == specs.build()
    assert "/run" not in mounts(spec)
    assert "ro" in mounts(spec)["/sys/fs/cgroup"]["options"]
