"""The grammars of -v, --mount and --tmpfs (rows P-09 to P-18, AB-01 to AB-06)."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import EngineError, InvalidParameter, Unsupported
from runengine.linux.mount import parse_mountinfo
from runengine.oci_spec import mounts, propagation, user_mounts
from runengine.oci_spec.mounts import MountPoint
from tests.support import specs

if TYPE_CHECKING:
    from runengine.model import MountSpec


def test_a_bind_is_recursive_and_private_and_makes_its_source():  # P-09, AB-01
    assert mounts.parse_bind("/a/./b/:/c//d") == MountPoint(
        "bind", "/a/b", "/c/d", propagation="rprivate", recursive=True, create_source=True
    )


@pytest.mark.parametrize("word", mounts.PROPAGATIONS)
def test_propagation_words(word):  # P-10
    point = mounts.parse_bind(f"/a:/b:{word},ro,z")
    assert (point.propagation, point.readonly) == (word, True)


@pytest.mark.parametrize("word", mounts.PROPAGATIONS)
def test_the_hosts_mounts_are_looked_at_only_where_they_matter(word):
    point = mounts.parse_bind(f"/a:/b:{word}")
    assert propagation.needs_table([point]) is word.endswith(("shared", "slave"))
    assert not propagation.needs_table([point._replace(type="tmpfs")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/a:/b:ro:x", "unknown volume bind"),
        ("/a:", "unknown volume bind"),
        (":/b", "unknown volume bind"),
        ("", "unknown volume bind"),
        ("/a:b", "invalid bind path"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/x/..", "destination can't be '/'"),
        ("/a:/b:rx", "unknown bind mode"),
        ("/a:/b:ro,rw", "invalid bind mode"),
        ("/a:/b:shared,private", "invalid bind mode"),
        ("/a:/b:z,Z", "invalid bind mode"),
        ("/a\0:/b", "NUL"),
        ("/a:/b\0", "NUL"),
    ],
)
def test_bad_binds(text, words):  # P-09, P-10
    with pytest.raises(InvalidParameter, match=words):
        mounts.parse_bind(text)


@given(st.text(max_size=40))
def test_no_bind_text_breaks_the_parser(text):
    try:
        point = mounts.parse_bind(text)
    except EngineError:
        return
    assert point.destination.startswith("/")
    assert point.destination == posixpath.normpath(point.destination) != "/"
    assert ".." not in point.destination.split("/")


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,src=/a,dst=/b", {"Type": "bind", "Source": "/a", "Target": "/b"}),
        (
            "type=bind,source=/a,target=/b,readonly",
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
        ),
        (
            '"type=bind","source=/a,b","destination=/c",ro=false',
            {"Type": "bind", "Source": "/a,b", "Target": "/c", "ReadOnly": False},
        ),
        (
            "TYPE=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
            },
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1.5m,tmpfs-mode=1770",
            {
                "Type": "tmpfs",
                "Target": "/t",
                "TmpfsOptions": {"SizeBytes": 1572864, "Mode": 0o1770},
            },
        ),
        ("target=/b", {"Type": "volume", "Target": "/b"}),
    ],
)
def test_mount_grammar(text, mount):
    assert mounts.parse_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty field"),
        ("type=bind,,dst=/b", "empty field"),
        ("type=bind,src=/a", "target is required"),
        ("type=nfs,dst=/b", "invalid mount type 'nfs'"),
        ("type=bind,src=/a,dst=/b,colour=red", "unexpected key 'colour'"),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1m", "cannot mix tmpfs"),
        ("type=bind,src=/a,dst=/b,bind-propagation=upwards", "invalid propagation"),
        ("type=bind,src=/a,dst=/b,bind-recursive=x", "bind-recursive"),
        ("type=bind,src=/a,dst=/b,ro=maybe", "invalid value 'maybe' for ro"),
        ("type=bind,src=/a,dst", "use key=value"),
        ("type=tmpfs,dst=/t,tmpfs-size=lots", "invalid size 'lots'"),
        ("type=tmpfs,dst=/t,tmpfs-mode=9", "tmpfs-mode"),
        ('"type=bind,src=/a,dst=/b', "invalid --mount"),
    ],
)
def test_bad_mounts(text, words):
    with pytest.raises(InvalidParameter, match=words):
        mounts.parse_mount(text)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"Type": "bind", "Source": "a", "Target": "/b"}, "must be an absolute path"),
        ({"Type": "bind", "Source": "/a", "Target": "b"}, "invalid bind path"),
        ({"Type": "tmpfs", "Source": "/a", "Target": "/b"}, "no source"),
        ({"Type": "npipe", "Source": "/a", "Target": "/b"}, "invalid mount type"),
        (
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "x"}},
            "invalid propagation",
        ),
        (
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "BindOptions": {"ReadOnlyForceRecursive": True},
            },
            "needs readonly",
        ),
    ],
)
def test_bad_api_mounts(mount, words):
    with pytest.raises(InvalidParameter, match=words):
        mounts.resolve_mount(mount)


def test_a_mount_does_not_make_its_source_but_on_demand():
    mount: MountSpec = {"Type": "bind", "Source": "/a", "Target": "/b"}
    assert not mounts.resolve_mount(mount).create_source
    assert mounts.resolve_mount({**mount, "BindOptions": {"CreateMountpoint": True}}).create_source


@pytest.mark.parametrize("option", ["size", "size=", "colour=red", "bind", "mode=1,bogus"])
def test_bad_tmpfs_options(option):
    with pytest.raises(InvalidParameter, match="invalid tmpfs option"):
        mounts.parse_tmpfs(f"/run:{option}")


def test_tmpfs_needs_an_absolute_path():
    with pytest.raises(InvalidParameter, match="absolute"):
        mounts.parse_tmpfs("run")


def test_tmpfs_options_lift_the_defaults_they_contradict():
    assert mounts.tmpfs_mount("/run", "exec,dev,rw,size=1m").options == (
        "nosuid",
        "exec",
        "dev",
        "size=1m",
    )


def test_equal_binds_count_once_and_two_on_one_place_are_an_error():  # P-09, P-16
    assert len(user_mounts.resolve_all(specs.host(Binds=["/a:/b", "/a:/b"]))) == 1
    for changes in (
        {"Binds": ["/a:/x", "/b:/x/"]},
        {"Binds": ["/a:/x"], "Tmpfs": {"/x": ""}},
        {"Binds": ["/a:/x"], "Mounts": [{"Type": "tmpfs", "Target": "/x"}]},
    ):
        with pytest.raises(InvalidParameter, match=r"Duplicate mount point: /x"):
            user_mounts.resolve_all(specs.host(**changes))


@given(st.lists(st.text("ab/", min_size=1, max_size=12), unique=True))
def test_parents_come_before_children(paths):  # P-18
    points = [
        MountPoint("bind", "/s", posixpath.normpath("/" + path.strip("/")))
        for path in paths
        if path.strip("/")
    ]
    order = [point.destination for point in mounts.parents_first(points)]
    for index, path in enumerate(order):
        assert not any(path.startswith(f"{later}/") for later in order[index + 1 :])


TABLE = """\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
23 22 0:30 / /private rw - tmpfs tmpfs rw
24 22 0:31 / /slave rw master:1 - tmpfs tmpfs rw
25 22 0:32 / /both rw - tmpfs tmpfs rw
26 25 0:33 / /both rw shared:9 - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("source", "word", "fits"),
    [
        ("/home", "shared", True),
        ("/home", "rslave", True),
        ("/private/x", "rshared", False),
        ("/private", "slave", False),
        ("/private", "rprivate", True),
        ("/privateer", "shared", True),
        ("/slave", "rslave", True),
        ("/slave", "shared", False),
        ("/both/x", "shared", True),
    ],
)
def test_propagation_needs_a_source_that_propagates(source, word, fits):  # AB-05
    points = [MountPoint("bind", source, "/x", propagation=word)]
    table = list(parse_mountinfo(TABLE))
    if fits:
        propagation.check_propagation(points, table)
    else:
        with pytest.raises(InvalidParameter, match="is not a shared"):
            propagation.check_propagation(points, table)


def test_recursive_readonly_is_an_error_where_it_was_asked_for_and_cannot_be():  # AB-06
    mount: MountSpec = {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"ReadOnlyForceRecursive": True},
    }
    points = [mounts.resolve_mount(mount)]
    assert any(
        "rro" in entry["options"] for entry in specs.build(mounts=points)["mounts"]
    )
    with pytest.raises(Unsupported, match=r"5\.12"):
        specs.build(mounts=points, kernel=specs.OLD_KERNEL)
    with pytest.raises(Unsupported, match="runc"):
        specs.build(mounts=points, runtime_recursive_readonly=False)
