"""CDI: names, specifications, and what they change in the spec (row Y-06)."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.linux.devices import DeviceEntry
from runengine.oci_spec import cdi, cdi_documents, runtime
from tests.support import specs

MINIMAL = {"cdiVersion": "0.5.0", "kind": "acme.com/widget", "devices": [{"name": "0"}]}
WHOLE = {
    "cdiVersion": "1.0.0",
    "kind": "acme.com/widget.big",
    "annotations": {"a": "b"},
    "containerEdits": {"env": ["A="]},
    "devices": [
        {
            "name": "x:0.a_b-c",
            "annotations": {},
            "containerEdits": {
                "env": ["A=b=c"],
                "deviceNodes": [
                    {
                        "path": "/dev/w",
                        "hostPath": "/vendor/w",
                        "type": "c",
                        "major": 25,
                        "minor": 26,
                        "fileMode": 384,
                        "permissions": "rw",
                        "uid": 1000,
                        "gid": 1001,
                    }
                ],
                "mounts": [
                    {
                        "hostPath": "tmpfs",
                        "containerPath": "/x",
                        "type": "tmpfs",
                        "options": ["ro"],
                    }
                ],
                "hooks": [
                    {
                        "hookName": "createContainer",
                        "path": "/bin/h",
                        "args": ["h"],
                        "env": ["B=c"],
                        "timeout": 5,
                    }
                ],
                "additionalGids": [32],
                "intelRdt": {"closID": "c", "l3CacheSchema": "L3:0=f", "enableCMT": True},
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("text", "kind", "device"),
    [
        ("vendor.com/class=name", "vendor.com/class", "name"),
        ("v/c=0", "v/c", "0"),
        ("nvidia.com/gpu=GPU-1:2.x_y", "nvidia.com/gpu", "GPU-1:2.x_y"),
        ("a_b.c-d/e.f=all", "a_b.c-d/e.f", "all"),
    ],
)
def test_names(text, kind, device):
    assert cdi.parse_name(text) == (kind, device)
    assert str(cdi.parse_name(text)) == text
    assert cdi.is_name(text)


@pytest.mark.parametrize(
    "text",
    ["", "/dev/x", "/dev/x=y", "a=b", "a/b", "a/b=", "/b=c", "a/=c", "1a/b=c", "a-/b=c", "a/b-=c",
     "a/b=-c", "a/b=c-", "a/b=c/d", "a/b=c=d", "a/b=c d", "a/b/c=d", "ä/b=c", "a/b=c\n"],
)  # fmt: skip
def test_what_is_no_name(text):
    assert not cdi.is_name(text)
    with pytest.raises(InvalidParameter, match="invalid CDI device name"):
        cdi.parse_name(text)


@given(st.text(max_size=30) | st.from_regex(r"[a-c.\-_1]{1,4}/[a-c.\-_1]{1,4}=[a-c.:\-_1]{1,4}"))
def test_a_name_is_one_or_is_refused(text):
    """And then it is itself, never a path, and a model takes its parts."""
    if not cdi.is_name(text):
        return
    name = cdi.parse_name(text)
    assert str(name) == text
    assert not text.startswith("/")
    document = {**MINIMAL, "kind": name.kind, "devices": [{"name": name.device}]}
    assert cdi_documents.parse(json.dumps(document).encode(), "a.json").kind == name.kind


@pytest.mark.parametrize("document", [MINIMAL, WHOLE], ids=["minimal", "whole"])
def test_both_languages_say_the_same(document):
    of_json = cdi_documents.parse(json.dumps(document).encode(), "/etc/cdi/a.json")
    of_yaml = cdi_documents.parse(yaml.safe_dump(document).encode(), "/etc/cdi/a.yaml")
    assert of_json == of_yaml
    assert of_json.model_dump(by_alias=True, exclude_unset=True) == document


NODE = {"path": "/dev/w"}


@pytest.mark.parametrize(
    ("edits", "field", "words"),
    [
        ({"env": ["A"]}, "env.0", "pattern"),
        ({"env": "A=b"}, "env", "list"),
        ({"deviceNodes": [{"path": "dev"}]}, "deviceNodes.0.path", "pattern"),
        ({"deviceNodes": [{**NODE, "type": "x"}]}, "deviceNodes.0.type", "'b', 'c'"),
        ({"deviceNodes": [{**NODE, "permissions": "rx"}]}, "deviceNodes.0", "r, w and m"),
        ({"deviceNodes": [{**NODE, "major": "1"}]}, "deviceNodes.0.major", "integer"),
        ({"deviceNodes": [{**NODE, "uid": -1}]}, "deviceNodes.0.uid", "greater"),
        ({"deviceNodes": [{**NODE, "uid": 1 << 32}]}, "deviceNodes.0.uid", "less"),
        ({"mounts": [{"hostPath": "/a"}]}, "mounts.0.containerPath", "required"),
        ({"mounts": [{"hostPath": "/a", "containerPath": "b"}]}, "mounts.0.containerPath", "^/"),
        ({"hooks": [{"hookName": "never", "path": "/h"}]}, "hooks.0.hookName", "prestart"),
        ({"hooks": [{"hookName": "prestart", "path": "h"}]}, "hooks.0.path", "pattern"),
        ({"additionalGids": [-5]}, "additionalGids.0", "greater"),
        ({"intelRdt": {"closID": 5}}, "intelRdt.closID", "string"),
        ({"device_nodes_": []}, "device_nodes_", "not permitted"),
    ],
)
def test_errors_name_file_and_field(edits, field, words):
    document = {**MINIMAL, "devices": [{"name": "0", "containerEdits": edits}]}
    with pytest.raises(InvalidParameter) as caught:
        cdi_documents.parse(json.dumps(document).encode(), "/etc/cdi/a.json")
    told = str(caught.value)
    assert told.startswith(
        f"CDI specification /etc/cdi/a.json: devices.0.containerEdits.{field}: "
    )
    assert words in told


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        (b"{", "a.json", "no JSON"),
        (b"[" * 100000, "a.json", "no JSON"),
        (b"\xff", "a.json", "no JSON"),
        (b"a: [", "a.yaml", "no YAML"),
        (b"a: !!python/object:os.system {}", "a.yaml", "no YAML"),
        (b"", "a.yaml", "document"),
        (b"[]", "a.json", "document"),
        (json.dumps({**MINIMAL, "cdiVersion": "2.0.0"}).encode(), "a.json", "cdiVersion"),
        (json.dumps({**MINIMAL, "kind": "acme"}).encode(), "a.json", "kind"),
        (json.dumps({**MINIMAL, "devices": []}).encode(), "a.json", "devices"),
        (json.dumps({**MINIMAL, "devices": [{"name": "0"}] * 2}).encode(), "a.json", "two"),
        (json.dumps({**MINIMAL, "devices": [{"name": "-"}]}).encode(), "a.json", "devices.0.name"),
    ],
)
def test_files_that_are_none(data, path, words):
    with pytest.raises(InvalidParameter, match=f"CDI specification {path}: .*{words}"):
        cdi_documents.parse(data, path)


# What they do to a spec; the golden file "edits" has one of each kind.

FULL = DeviceEntry("/dev/w", "c", 1, 7, 0o600, 1000, 0, "rw")


def build(*edits: cdi.Edits, **changes):
    spec = specs.build(edits=list(edits), **changes)
    runtime.Spec.model_validate(spec)
    return spec


def test_the_later_one_of_a_name_wins():
    first = cdi.Edits(
        env=("A=1", "PATH=/vendor"),
        devices=(FULL,),
        mounts=({"destination": "/x", "type": "bind", "source": "/1", "options": ["bind"]},),
    )
    second = cdi.Edits(
        env=("A=2",),
        devices=(FULL._replace(minor=8),),
        mounts=({"destination": "/x", "type": "bind", "source": "/2", "options": ["bind"]},),
    )
    spec = build(first, second, env=["A=0"])
    env = spec["process"]["env"]
    assert [item for item in env if item.startswith(("A=", "PATH="))] == ["PATH=/vendor", "A=2"]
    assert [node["minor"] for node in spec["linux"]["devices"]] == [8]
    assert [m["source"] for m in spec["mounts"] if m["destination"] == "/x"] == ["/2"]


def test_a_vendors_mount_comes_before_what_is_below_it():
    mount = {"destination": "/etc", "type": "bind", "source": "/e", "options": ["bind"]}
    spec = build(cdi.Edits(mounts=(mount,)), network_files={"/etc/hosts": "/h"})
    order = [mount["destination"] for mount in spec["mounts"]]
    assert order.index("/etc") < order.index("/etc/hosts")


def test_groups_are_added_once_and_never_roots():
    spec = build(cdi.Edits(additional_gids=(0, 44, 44, 5)), cdi.Edits(additional_gids=(44,)))
    assert spec["process"]["user"]["additionalGids"] == [0, 44, 5]


def test_a_fifo_needs_no_leave_and_a_privileged_container_neither():
    fifo = FULL._replace(path="/dev/p", type="p")
    plain = build(cdi.Edits(devices=(FULL, fifo)))["linux"]
    before = specs.build()["linux"]["resources"]["devices"]
    assert plain["resources"]["devices"][len(before) :] == [
        {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rw"}
    ]
    free = build(cdi.Edits(devices=(FULL,)), host_changes={"Privileged": True})["linux"]
    assert free["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


@pytest.mark.side_effects
def test_yaml_is_not_on_the_way_of_other_containers():
    import subprocess

    script = (
        "import sys; import runengine.mgr.container.facts, runengine.oci_spec.build;"
        "import runengine.oci_spec.validate, runengine.oci_spec.cdi;"
        "assert not {'yaml', 'pydantic', 'csv'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
