"""Devices by name, looked up in the specifications of a made-up host (rows Y-04 to Y-06)."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from runengine.errors import InvalidParameter, NotFound, Unavailable, Unsupported
from runengine.mgr.container import cdi as cdi_module
from runengine.mgr.container import device_requests
from runengine.mgr.container.cdi import Registry, edits_of
from runengine.oci_spec import cdi, gpus
from runengine.oci_spec.users import User

ROOT, ANN = User(0, 0), User(1000, 1001)


@pytest.fixture
def directories(tmp_path):
    found = [tmp_path / "etc", tmp_path / "run"]
    for one in found:
        one.mkdir()
    return found


def write(directory, name, kind="acme.com/widget", devices=None, **document):
    made = [{"name": n, "containerEdits": edits} for n, edits in (devices or {}).items()]
    text = json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": made, **document})
    (directory / name).write_text(text)


def look_up(directories, *names, user=ROOT):
    registry = Registry([str(one) for one in directories])
    return list(edits_of(registry, map(cdi.parse_name, names), user))


def env(found):
    return [item for edits in found for item in edits.env]


def device(text):
    return {"env": [text]}


def test_what_all_have_comes_once_and_first(directories):
    write(directories[0], "a.json", devices={"0": device("D=0"), "1": device("D=1")},
          containerEdits={"env": ["ALL=1"]})  # fmt: skip
    names = ["acme.com/widget=1", "acme.com/widget=0", "acme.com/widget=1"]
    assert env(look_up(directories, *names)) == ["ALL=1", "D=1", "D=0"]


def test_a_later_directory_hides_an_earlier_one(directories):
    write(directories[0], "a.json", devices={"0": device("FROM=etc"), "1": device("ONE=etc")})
    write(directories[1], "z.yaml", devices={"0": device("FROM=run")})
    assert env(look_up(directories, "acme.com/widget=0")) == ["FROM=run"]
    assert env(look_up(directories, "acme.com/widget=1")) == ["ONE=etc"]
    assert env(look_up(directories[::-1], "acme.com/widget=0")) == ["FROM=etc"]


def test_two_files_of_one_directory_conflict(directories):
    for name in ("a.json", "b.json"):
        write(directories[0], name, devices={"0": device("X=0"), name[0]: device("Y=0")})
    with pytest.raises(InvalidParameter) as caught:
        look_up(directories, "acme.com/widget=0")
    for name in ("a.json", "b.json"):
        assert str(directories[0] / name) in str(caught.value)
    # Only what both have; and a later directory decides.
    assert env(look_up(directories, "acme.com/widget=b")) == ["Y=0"]
    write(directories[1], "c.json", devices={"0": device("X=run")})
    assert env(look_up(directories, "acme.com/widget=0")) == ["X=run"]


def test_all_is_a_device_of_its_own_or_every_one(directories):
    write(directories[0], "a.json", devices={"0": device("D=0"), "1": device("D=1")})
    write(directories[0], "b.json", "acme.com/other", devices={"2": device("D=2")})
    assert env(look_up(directories, "acme.com/widget=all")) == ["D=0", "D=1"]
    write(directories[1], "c.json", devices={"all": device("D=all")})
    assert env(look_up(directories, "acme.com/widget=all")) == ["D=all"]


def test_what_is_not_there_says_what_is(directories):
    write(directories[0], "a.json", devices={"0": {}, "1": {}})
    (directories[0] / "b.yaml").write_text("kind: 5\n")
    (directories[0] / "c.txt").write_text("nothing")
    with pytest.raises(NotFound) as caught:
        look_up(directories, "acme.com/widget=2")
    told = str(caught.value)
    assert "unresolvable CDI devices acme.com/widget=2" in told
    assert "acme.com/widget has 0, 1" in told
    assert f"{directories[0]}/b.yaml: " in told
    assert f"{directories[0]} and {directories[1]}" in told
    # A damaged file is nobody's business who does not need it.
    assert look_up(directories, "acme.com/widget=1")


def test_of_many_damaged_files_some_are_told(directories):
    for number in range(5):
        (directories[0] / f"{number}.json").write_text("{")
    with pytest.raises(NotFound) as caught:
        look_up(directories, "acme.com/widget=2")
    told = str(caught.value)
    assert told.count(".json: no JSON") == 3
    assert "2 more files cannot be read" in told


def test_directories_that_are_not_there(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFound, match="none is of a/b"):
        look_up([tmp_path / "no", tmp_path / "file"], "a/b=c")


def test_a_file_that_is_too_large_is_left_out(directories, monkeypatch):
    write(directories[0], "a.json", devices={"0": device("D=0")})
    size = (directories[0] / "a.json").stat().st_size
    monkeypatch.setattr(cdi_module, "_SIZE_LIMIT", size)
    assert env(look_up(directories, "acme.com/widget=0")) == ["D=0"]
    monkeypatch.setattr(cdi_module, "_SIZE_LIMIT", size - 1)
    with pytest.raises(NotFound, match=f"larger than {size - 1} bytes"):
        look_up(directories, "acme.com/widget=0")


def test_a_fifo_holds_nobody_up(directories):
    os.mkfifo(directories[0] / "a.json")
    with pytest.raises(NotFound, match="not a regular file"):
        look_up(directories, "a/b=c")


@pytest.mark.parametrize(
    ("node", "user", "expected"),
    [
        ({}, ROOT, ("/dev/w", "c", 1, 7, None, 0, 0, "rwm")),
        ({"fileMode": 0o600}, ANN, ("/dev/w", "c", 1, 7, 0o600, 1000, 1001, "rwm")),
        ({"uid": 0, "gid": 5, "permissions": "r"}, ANN, ("/dev/w", "c", 1, 7, None, 0, 5, "r")),
        ({"type": "c"}, ROOT, ("/dev/w", "c", 1, 7, None, 0, 0, "rwm")),
        (
            {"hostPath": "/nonexistent", "type": "b", "major": 9, "minor": 300},
            ROOT,
            ("/dev/w", "b", 9, 300, 0o666, 0, 0, "rwm"),
        ),
        (
            {"hostPath": "/nonexistent", "type": "p"},
            ROOT,
            ("/dev/w", "p", 0, 0, 0o666, 0, 0, "rwm"),
        ),
    ],
)
def test_numbers_and_owners(directories, node, user, expected):
    node = {"path": "/dev/w", "hostPath": "/dev/full", **node}
    write(directories[0], "a.json", devices={"0": {"deviceNodes": [node]}})
    found = look_up(directories, "acme.com/widget=0", user=user)[-1].devices[0]
    known = list(expected)
    known[4] = found.mode if known[4] is None else known[4]
    assert list(found) == known


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"deviceNodes": [{"path": "/nonexistent"}]}, "No such file"),
        ({"deviceNodes": [{"path": "/etc"}]}, "/etc is not a device node"),
        ({"deviceNodes": [{"path": "/dev/full", "type": "b"}]}, "of type c, not b"),
        ({"mounts": [{"hostPath": "/nonexistent", "containerPath": "/x"}]}, "nothing is at"),
    ],
)
def test_what_the_host_does_not_have(directories, edits, words):
    write(directories[0], "a.json", devices={"0": edits})
    with pytest.raises(InvalidParameter, match=words) as caught:
        look_up(directories, "acme.com/widget=0")
    assert f"{directories[0]}/a.json" in str(caught.value)


def test_interfaces_are_not_moved(directories):
    moved = {"netDevices": [{"hostInterfaceName": "eth9", "name": "eth0"}]}
    write(directories[0], "a.json", devices={"0": moved})
    with pytest.raises(Unsupported, match="netDevices"):
        look_up(directories, "acme.com/widget=0")


def test_mounts_hooks_and_classes(directories):
    edits = {
        "mounts": [
            {"hostPath": "/etc", "containerPath": "/a", "options": ["ro"]},
            {"hostPath": "/etc", "containerPath": "/b", "options": ["ro", "bind"]},
            {"hostPath": "tmpfs", "containerPath": "/c", "type": "tmpfs"},
        ],
        "hooks": [
            {"hookName": "poststop", "path": "/h", "args": ["h", "x"], "timeout": 0},
            {"hookName": "prestart", "path": "/h", "env": ["A=b"], "timeout": 3},
        ],
        "intelRdt": {"closID": "c", "l3CacheSchema": "L3:0=f"},
    }
    write(directories[0], "a.json", devices={"0": edits})
    found = look_up(directories, "acme.com/widget=0")[-1]
    assert [(m["type"], m["options"]) for m in found.mounts] == [
        ("bind", ["rbind", "ro"]),
        ("bind", ["ro", "bind"]),
        ("tmpfs", []),
    ]
    assert found.hooks == (
        ("poststop", {"path": "/h", "args": ["h", "x"]}),
        ("prestart", {"path": "/h", "env": ["A=b"], "timeout": 3}),
    )
    assert found.intel_rdt == {"closID": "c", "l3CacheSchema": "L3:0=f"}


# Requests


def resolve(directories, *requests):
    return device_requests.resolve(requests, [str(one) for one in directories], ROOT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", ["G=0", "G=1"]),
        ("2", ["G=0", "G=1"]),
        ("1", ["G=0"]),
        ("device=1", ["G=1"]),
        ("0", []),
    ],
)
def test_gpus_are_cdi_devices(directories, text, expected):
    write(directories[0], "n.yaml", gpus.KIND, {"0": device("G=0"), "1": device("G=1")})
    assert env(resolve(directories, gpus.parse(text))) == expected


def test_more_gpus_than_there_are(directories):
    write(directories[0], "n.yaml", gpus.KIND, {"0": device("G=0")})
    with pytest.raises(NotFound, match=r"nvidia\.com/gpu=1: nvidia\.com/gpu has 0"):
        resolve(directories, gpus.parse("2"))


def test_gpus_by_the_hook(directories, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: f"/usr/bin/{name}")
    (found,) = resolve(directories, gpus.parse('"device=0,1","capabilities=video,utility"'))
    assert found.env == (
        "NVIDIA_VISIBLE_DEVICES=0,1",
        "NVIDIA_DRIVER_CAPABILITIES=video,utility",
    )
    (hook,) = found.hooks
    program = "/usr/bin/nvidia-container-runtime-hook"
    assert (hook.when, hook.section["args"]) == ("prestart", [program, "prestart"])
    assert resolve(directories, gpus.parse("0")) == []


def test_gpus_by_nothing(directories, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(Unavailable) as caught:
        resolve(directories, gpus.parse("all"))
    told = str(caught.value)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in told
    assert f"nvidia-ctk cdi generate --output={directories[0]}/nvidia.yaml" in told
    with pytest.raises(Unavailable, match=r'driver "amd" with capabilities: \[\[gpu\]\]'):
        resolve(directories, gpus.parse("driver=amd"))


def test_names_and_gpus_together(directories):
    write(directories[0], "n.yaml", gpus.KIND, {"0": device("G=0")})
    write(directories[0], "a.json", devices={"0": device("D=0")})
    found = resolve(directories, gpus.parse("1"), cdi.request(["acme.com/widget=0"]))
    assert env(found) == ["G=0", "D=0"]
