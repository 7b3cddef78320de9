"""SELinux labels of containers: chosen once each, kept in the record, set on what they bring."""

from __future__ import annotations

import os

import pytest

from runengine.errors import InvalidParameter, Unsupported
from runengine.linux.selinux import Policy
from runengine.mgr.container import labels
from runengine.model import host_config
from runengine.oci_spec import selinux
from runengine.oci_spec.mounts import MountPoint
from runengine.oci_spec.volume_mounts import VolumeWish
from tests.support import specs
from tests.support.documents import changed

POLICY = Policy("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
MINE = {"process": "u:r:t:s0:c1,c2", "mount": "u:object_r:f:s0:c1,c2"}


def choose(context, policy=POLICY, **host):
    with labels.chosen(context, changed(host_config(), host), policy) as found:
        return found


def test_a_level_that_nobody_has(context, add, monkeypatch):
    draws = iter([(1, 2), (1, 2), (3, 4)])
    monkeypatch.setattr("random.sample", lambda *_: next(draws))
    first = choose(context)
    assert selinux.level_of(first["selinux"]["mount"]) == "s0:c1,c2"
    add("first", details=first)
    assert selinux.level_of(choose(context)["selinux"]["process"]) == "s0:c3,c4"


@pytest.mark.parametrize(
    "host", [{"Privileged": True}, {"PidMode": "host"}, {"SecurityOpt": ["label=disable"]}]
)
def test_processes_that_are_not_confined(context, host):
    assert choose(context, **host)["selinux"]["process"] == ""


def test_those_who_share_processes_share_the_label(context, add):
    add("other", details={"selinux": MINE})
    found = choose(context, PidMode="container:other")["selinux"]
    assert found["process"] == MINE["process"]
    assert selinux.level_of(found["mount"]) == "s0:c1,c2"


def test_a_policy_without_containers(context):
    assert choose(context, Policy()) == {}
    assert choose(context, Policy(), SecurityOpt=["label=disable", "label=type:x"]) == {}
    with pytest.raises(Unsupported, match="label=type:x: the policy has no labels"):
        choose(context, Policy(), SecurityOpt=["label=type:x"])


@pytest.fixture
def labelled(monkeypatch):
    done: dict[str, str] = {}
    monkeypatch.setattr("runengine.linux.selinux.set_label", done.__setitem__)
    monkeypatch.setattr("runengine.rootfs.relabel.relabel", done.__setitem__)
    return done


def test_what_a_container_brings_is_labelled(add, labelled, tmp_path):
    places = {}
    for name in ("plain", "alone", "all", "volume"):
        (tmp_path / name).mkdir()
        places[name] = str(tmp_path / name)
    known = specs.facts(
        network_files={"/etc/hosts": "/x/hosts"},
        mounts=[
            MountPoint("bind", places["plain"], "/1"),
            MountPoint("bind", places["alone"], "/2", mode="ro,Z"),
            MountPoint("bind", places["all"], "/3", mode="z"),
            MountPoint("bind", places["volume"], "/4", volume=VolumeWish("data")),
        ],
    )
    labels.apply(add("one", details={"selinux": MINE}), known)
    assert labelled == {
        "/x/hosts": MINE["mount"],
        places["alone"]: MINE["mount"],
        places["all"]: "u:object_r:f:s0",
        places["volume"]: "u:object_r:f:s0",
    }
    assert known.labels == selinux.Labels(**MINE)


@pytest.mark.parametrize("path", sorted(selinux.NEVER_RELABEL))
def test_what_is_never_relabelled(add, labelled, path):
    known = specs.facts(mounts=[MountPoint("bind", f"{path}/.", "/1", mode="z")])
    record = add("one", details={"selinux": MINE})
    if not os.path.islink(path):
        with pytest.raises(InvalidParameter, match="is not allowed"):
            labels.apply(record, known)
    assert not labelled
