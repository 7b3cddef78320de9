"""Maps of user namespaces: grammar, checks, arithmetic, and what the spec has of them."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import idmaps, namespaces
from runengine.oci_spec.facts import UserFacts
from runengine.oci_spec.idmaps import IdMaps, Range
from tests.support import specs

BASE = 1 << 31
MAPS = IdMaps((Range(0, BASE, 65536),), (Range(0, BASE, 1000), Range(1000, 5, 1)))


def user_facts(**changes):
    fields = {"path": "/proc/1/fd/9", "rootfs": "/run/x-userns/a/rootfs", "maps": MAPS}
    return UserFacts(**{**fields, **changes})


def spec_of(**changes):
    return specs.build({}, {"UsernsMode": "auto"}, userns=user_facts(**changes))


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", idmaps.Mode("host")),
        ("host", idmaps.Mode("host")),
        ("auto", idmaps.Mode("auto", 65536)),
        ("auto:size=10", idmaps.Mode("auto", 10)),
        ("private", idmaps.Mode("private")),
        ("container:web", idmaps.Mode("container", container="web")),
        (
            "auto:uidmapping=0:1000:1,size=10,gidmapping=5:7,gidmapping=0:100:2",
            idmaps.Mode("auto", 10, (Range(0, 1000, 1),), (Range(0, 100, 2), Range(5, 7, 1))),
        ),
    ],
)
def test_modes(text, mode):
    assert idmaps.parse_mode(text) == mode


@pytest.mark.parametrize(
    "text",
    ["bogus", "HOST", "host:", "auto:", "auto:size=", "auto:size=0", "auto:size=-1", "auto:x=1",
     f"auto:size={1 << 32}", "auto:size=²", "private:x", "container:", "container",
     "auto:uidmapping=", "auto:uidmapping=0", "auto:gidmapping=0:1:0", "auto:size=5,"],
)  # fmt: skip
def test_modes_that_nobody_has(text):
    with pytest.raises(InvalidParameter, match="invalid --userns"):
        namespaces.modes(specs.host(UsernsMode=text), specs.KERNEL)


@pytest.mark.parametrize("text", ["keep-id", "nomap", "ns:/x"])
def test_modes_of_other_engines(text):
    with pytest.raises(Unsupported, match=f"--userns {text}"):
        idmaps.parse_mode(text)


@pytest.mark.parametrize(
    ("text", "found"), [("0:100:5", Range(0, 100, 5)), ("7:8", Range(7, 8, 1))]
)
def test_ranges(text, found):
    assert idmaps.parse_range(text) == found


@pytest.mark.parametrize(
    "text", ["", "0", "0:1:2:3", "a:b:c", "0:1:0", "-1:1:1", f"0:{idmaps.LAST_ID}:2", "0:²:1"]
)
def test_bad_ranges(text):
    with pytest.raises(InvalidParameter, match="invalid --uidmap"):
        idmaps.parse_range(text)


def maps(*uids, gids=(), **changes):
    mappings = {"UidMap": list(uids), "GidMap": list(gids)}
    return specs.host(UsernsMode="private", IDMappings=mappings, **changes)


def test_one_list_stands_for_both():
    found = idmaps.of_host(maps("0:10:5"))
    assert found == IdMaps((Range(0, 10, 5),), (Range(0, 10, 5),))
    assert idmaps.of_host(maps(gids=["0:10:5"])) == found
    assert found.root == (10, 10)
    assert idmaps.of_host(specs.host()) is None


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["1:10:5"], "root of the container is not mapped"),
        (["0:10:5", "4:100:5"], "id 4 is in two"),
        (["0:10:5", "5:14:5"], "id 14 is in two"),
        ([f"{n}:{n + 1000}:1" for n in range(341)], "340 ranges"),
    ],
)
def test_maps_that_the_kernel_refuses(texts, words):
    with pytest.raises(InvalidParameter, match=words):
        idmaps.check(maps(*texts))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Privileged": True}, "privileged mode is incompatible"),
        ({"NetworkMode": "host"}, "--network host"),
        ({"NetworkMode": "netns:/run/netns/x"}, "--network netns"),
        ({"PidMode": "container:y"}, "--pid container:y"),
        ({"IpcMode": "host"}, "--ipc host"),
        ({"UTSMode": "host"}, "--uts host"),
        ({"IDMappings": {"UidMap": ["0:1:1"], "GidMap": []}}, "exclude --userns auto"),
        (
            {"Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b",
                          "CgroupPermissions": "rwm"}]},
            "--device /dev/a",
        ),
    ],
)  # fmt: skip
def test_what_root_in_a_user_namespace_has_no_say_in(changes, words):
    with pytest.raises(InvalidParameter, match=words):
        idmaps.check(specs.host(UsernsMode="auto", **changes))


def test_what_belongs_to_the_namespace_that_is_joined_can_be_joined():
    joined = {"NetworkMode": "container:y", "PidMode": "container:y", "IpcMode": "container:y"}
    mode = idmaps.check(specs.host(UsernsMode="container:y", **joined))
    assert (mode.kind, mode.container) == ("container", "y")
    for changes in ({"PidMode": "container:x"}, {"PidMode": "host"}, {"Privileged": True}):
        with pytest.raises(InvalidParameter, match="incompatible"):
            idmaps.check(specs.host(UsernsMode="container:y", **joined | changes))


@pytest.mark.parametrize("text", ["uidmapping=0:1:5,uidmapping=4:9:1", "gidmapping=0:1:5,"
                                  "gidmapping=9:5:1"])  # fmt: skip
def test_given_ranges_that_overlap(text):
    with pytest.raises(InvalidParameter, match=r"--userns auto:.idmapping: id . is in two"):
        idmaps.parse_mode(f"auto:{text}")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((), (Range(0, 100, 10),)),
        ((Range(0, 7, 1),), (Range(0, 7, 1), Range(1, 101, 9))),
        ((Range(4, 7, 2),), (Range(0, 100, 4), Range(4, 7, 2), Range(6, 106, 4))),
        ((Range(9, 7, 5),), (Range(0, 100, 9), Range(9, 7, 5))),
        ((Range(20, 7, 5),), (Range(0, 100, 10), Range(20, 7, 5))),
        ((Range(0, 7, 3), Range(3, 50, 9)), (Range(0, 7, 3), Range(3, 50, 9))),
    ],
)
def test_the_rest_of_a_map_is_filled(given, found):
    assert idmaps.filled(given, 100, 10) == found


def test_a_mode_without_its_map():
    with pytest.raises(InvalidParameter, match="no map is given"):
        idmaps.check(specs.host(UsernsMode="private"))


def test_both_directions():
    for number, there in ((0, BASE), (999, BASE + 999), (1000, 5), (1001, None)):
        assert idmaps.outside(MAPS.gids, number) == there
        if there is not None:
            assert idmaps.inside(MAPS.gids, there) == number
    assert idmaps.text(MAPS.gids) == f"0 {BASE} 1000\n1000 5 1\n"


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ([], 100),
        ([(100, 10)], 110),
        ([(110, 10), (100, 10)], 120),
        ([(105, 10)], 115),
        ([(90, 15), (200, 5)], 105),
        ([(110, 10)], 100),
        ([(100, 85)], 185),
        ([(100, 91)], None),
        ([(0, 1 << 32)], None),
    ],
)
def test_the_first_gap_that_is_large_enough(taken, found):
    assert idmaps.free_range((100, 100), 10, taken) == found


def test_the_spec_joins_the_namespace_and_names_its_maps():
    spec = spec_of()
    assert spec["linux"]["namespaces"][0] == {"type": "user", "path": "/proc/1/fd/9"}
    assert spec["linux"]["uidMappings"] == [{"containerID": 0, "hostID": BASE, "size": 65536}]
    assert len(spec["linux"]["gidMappings"]) == 2
    assert spec["root"]["path"] == "/run/x-userns/a/rootfs"


def test_newer_runtimes_read_the_maps_off_the_namespace():
    linux = spec_of(path_alone=True)["linux"]
    assert "uidMappings" not in linux
    assert "gidMappings" not in linux


def test_settings_keep_to_the_groups_that_are_there():
    spec = spec_of()
    assert spec["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 999"
    (pts,) = [mount for mount in spec["mounts"] if mount["destination"] == "/dev/pts"]
    assert "gid=5" in pts["options"]
    few = IdMaps((Range(0, 9, 1),), (Range(0, 9, 1),))
    (pts,) = [m for m in spec_of(maps=few)["mounts"] if m["destination"] == "/dev/pts"]
    assert not [word for word in pts["options"] if word.startswith("gid=")]
