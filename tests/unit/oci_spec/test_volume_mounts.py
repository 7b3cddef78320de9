"""Volumes in -v and --mount (rows P-09, P-10, P-14)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.oci_spec import mounts, user_mounts, volume_mounts
from runengine.oci_spec.mounts import MountPoint
from runengine.oci_spec.volume_mounts import VolumeWish
from tests.support import specs


def volume(destination, wish, **fields):
    return MountPoint("volume", "", destination, idmap=True, volume=wish, **fields)


def parsed(text):
    return mounts.resolve_mount(mounts.parse_mount(text))


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("data:/a//b/", volume("/a/b", VolumeWish("data"))),
        ("data:/b:ro", volume("/b", VolumeWish("data"), readonly=True, mode="ro")),
        ("data:/b:nocopy", volume("/b", VolumeWish("data", nocopy=True), mode="nocopy")),
        ("data:/b:dr,z", volume("/b", VolumeWish("data", replace="dr"), mode="dr,z")),
        ("data:/b:rr", volume("/b", VolumeWish("data", replace="rr"), mode="rr")),
        ("/b", volume("/b", VolumeWish(anonymous=True))),
    ],
)
def test_volumes_in_short(text, point):
    assert mounts.parse_bind(text) == point


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a/b:/x", "invalid characters for a local volume name"),
        ("../x:/x", "invalid characters"),
        ("_x:/x", "invalid characters"),
        ("a b:/x", "absolute path"),
        ("x:/x", "too short"),
        ("x" * 241 + ":/x", "too long"),
        ("data:x", "must be absolute"),
        ("data:/x:dr,rr", "invalid bind mode"),
        ("/host:/x:rr", "rr needs a volume"),
        ("relative", "must be absolute"),
        ("/x:ro", "must be absolute"),
    ],
)
def test_bad_volumes_in_short(text, words):
    with pytest.raises(InvalidParameter, match=words):
        mounts.parse_bind(text)


def test_a_mount_is_a_volume_unless_it_says_otherwise():
    assert parsed("dst=/b") == volume("/b", VolumeWish(anonymous=True))
    assert parsed("src=data,dst=/b,ro") == volume("/b", VolumeWish("data"), readonly=True)


def test_everything_that_a_mount_says_of_a_volume():
    text = (
        "type=volume,src=data,dst=/b,volume-nocopy,volume-driver=local,volume-label=a=1,"
        'volume-label=b,volume-subpath=x/y,volume-opt=type=tmpfs,"volume-opt=o=size=1m,mode=700"'
    )
    assert parsed(text).volume == VolumeWish(
        "data",
        driver="local",
        labels={"a": "1", "b": ""},
        options={"type": "tmpfs", "o": "size=1m,mode=700"},
        nocopy=True,
        subpath="x/y",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type=volume,dst=/b,src=/a", "invalid characters"),
        ("type=volume,dst=/b,src=data,volume-subpath=../x", "relative path within"),
        ("type=volume,dst=/b,src=data,volume-subpath=x/../../y", "relative path within"),
        ("type=volume,dst=/b,src=data,volume-subpath=/x", "relative path within"),
        ("type=volume,dst=/b,volume-nocopy=maybe", "invalid value 'maybe'"),
        ("type=volume,dst=/b,volume-opt=alone", "KEY=VALUE"),
        ("type=volume,dst=/b,volume-colour=red", "unexpected key"),
        ("type=volume,dst=/b,bind-recursive=disabled", "cannot mix bind"),
        ("type=bind,src=/a,dst=/b,volume-nocopy", "cannot mix volume"),
    ],
)
def test_bad_volumes_in_mounts(text, words):
    with pytest.raises(InvalidParameter, match=words):
        parsed(text)


def test_a_volume_and_another_mount_on_one_place_are_an_error():
    for changes in (
        {"Binds": ["data:/x", "/b:/x/"]},
        {"Binds": ["data:/x"], "Tmpfs": {"/x": ""}},
        {"Mounts": [{"Type": "volume", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x"}]},
    ):
        with pytest.raises(InvalidParameter, match="Duplicate mount point: /x"):
            user_mounts.resolve_all(specs.host(**changes))


def test_names_have_the_length_that_file_names_leave():
    assert volume_mounts.check_name("a" * 240) == "a" * 240
    assert volume_mounts.check_name("0-_.") == "0-_."
