"""Namespace modes and sysctls (rows AA-12, E-16)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import namespaces, sysctls
from tests.support import specs


def kinds(**changes):
    return {n["type"] for n in specs.build(host_changes=changes)["linux"]["namespaces"]}


def test_cgroup_namespace_is_private_on_v2_and_the_hosts_on_v1():
    assert namespaces.modes(specs.host(), specs.KERNEL)["cgroup"].kind == "private"
    assert namespaces.modes(specs.host(), specs.OLD_KERNEL)["cgroup"].kind == "host"


@pytest.mark.parametrize("key", ["PidMode", "IpcMode", "UTSMode", "CgroupnsMode"])
@pytest.mark.parametrize("mode", ["bogus", "container:", "Host", "container"])
def test_bad_modes(key, mode):
    with pytest.raises(InvalidParameter, match=r"invalid --"):
        namespaces.modes(specs.host(**{key: mode}), specs.KERNEL)


@pytest.mark.parametrize(
    ("key", "kind"), [("PidMode", "pid"), ("UTSMode", "uts"), ("NetworkMode", "network")]
)
def test_host_removes_the_namespace(key, kind):  # AA-12
    assert kind in kinds()
    assert kind not in kinds(**{key: "host"})


@pytest.mark.parametrize("key", ["PidMode", "IpcMode", "UTSMode", "NetworkMode"])
def test_a_container_that_was_not_looked_up_cannot_be_joined(key):  # AA-12: pid 0 in Pouch
    with pytest.raises(InvalidParameter, match="container other: it is not running"):
        specs.build(host_changes={key: "container:other"})


def test_cgroup_namespaces_cannot_be_shared():
    with pytest.raises(InvalidParameter, match="--cgroupns"):
        namespaces.modes(specs.host(CgroupnsMode="container:x"), specs.KERNEL)


def test_a_private_cgroup_namespace_needs_the_kernel():
    kernel = specs.KERNEL._replace(namespaces=frozenset({"pid"}))
    with pytest.raises(Unsupported, match="no cgroup namespaces"):
        namespaces.modes(specs.host(CgroupnsMode="private"), kernel)


@pytest.mark.parametrize(
    ("text", "pair"),
    [("a.b=c=d", ("a.b", "c=d")), ("net.x=", ("net.x", ""))],
)
def test_sysctl_grammar(text, pair):  # E-16
    assert sysctls.parse(text) == pair


@pytest.mark.parametrize("text", ["", "a.b", "=x"])
def test_bad_sysctl_grammar(text):  # E-16
    words = f"invalid sysctl {text}: sysctl must be in format of key=value"
    with pytest.raises(InvalidParameter, match=words):
        sysctls.parse(text)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
    ],
)
def test_both_spellings_of_a_name(name, normal):
    assert sysctls.normalise(name) == normal


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("net.core.somaxconn", {"NetworkMode": "host"}),
        ("net.core.somaxconn", {"NetworkMode": "container:x"}),
        ("net/core/somaxconn", {"NetworkMode": "host"}),
        ("kernel.shmmax", {"IpcMode": "host"}),
        ("fs.mqueue.msg_max", {"IpcMode": "container:x"}),
        ("kernel.domainname", {"UTSMode": "host"}),
    ],
)
def test_only_in_namespaces_of_its_own(name, changes):
    own = {"network": "NetworkMode", "ipc": "IpcMode", "uts": "UTSMode"}
    host = specs.host(Sysctls={name: "1"}, **changes)
    modes = namespaces.modes(host, specs.KERNEL)
    mine = {kind for kind in own if modes[kind].kind == "private"}
    with pytest.raises(InvalidParameter, match="not allowed"):
        sysctls.check(host, own=mine)
    sysctls.check(specs.host(Sysctls={name: "1"}), own=set(own))


@pytest.mark.parametrize(
    "name", ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.msgmaxx", "network.x", ""]
)
def test_sysctls_of_the_whole_host_are_refused(name):
    with pytest.raises(InvalidParameter, match=r"sysctl"):
        sysctls.check(specs.host(Sysctls={name: "1"}), own={"network", "ipc", "uts"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net../../kernel/x", "1"),
        ("net/../kernel/core_pattern", "1"),
        ("net.x", "1\n2"),
        ("net.x\0", "1"),
    ],
)
def test_sysctls_that_are_tricks(name, value):
    with pytest.raises(InvalidParameter, match="invalid sysctl"):
        sysctls.check(specs.host(Sysctls={name: value}), own={"network"})


def test_the_hosts_user_namespace():
    for mode in ("", "host"):
        spec = specs.build(host_changes={"UsernsMode": mode})
        assert "user" not in {entry["type"] for entry in spec["linux"]["namespaces"]}
