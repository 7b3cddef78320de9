"""Ids of user namespaces: nobody's twice, counted from the containers that there are."""

from __future__ import annotations

import pytest

from runengine.errors import Conflict, InvalidParameter, Unavailable
from runengine.linux import devices
from runengine.mgr.container import userns
from runengine.mgr.container.view import View
from runengine.model import host_config
from runengine.oci_spec.idmaps import NOBODY, IdMaps, Range
from runengine.settings import parse_settings
from tests.support.documents import changed

FIRST = 1 << 31


@pytest.fixture(autouse=True)
def delegated(monkeypatch, tmp_path):
    """The file that says which ids users may map; empty at first."""
    path = tmp_path / "subuid"
    path.touch()
    monkeypatch.setattr(userns, "_DELEGATED", (str(path), str(tmp_path / "missing")))
    return path


@pytest.fixture
def choose(context):
    def one(mode, *, pool=None, **host):
        settings = context.config._replace(userns_pool=pool) if pool else context.config
        wanted = changed(host_config(), {"UsernsMode": mode, **host})
        with userns.chosen(context._replace(config=settings), wanted) as found:
            return found

    return one


def test_ranges_are_free_again_with_their_containers(context, add, choose):
    one = add("one", details=choose("auto"))
    assert userns.maps_of(one) == IdMaps((Range(0, FIRST, 65536),), (Range(0, FIRST, 65536),))
    two = choose("auto:size=10")
    assert two["userns"]["uids"] == ((0, FIRST + 65536, 10),)
    add("two", details=two)
    context.store.containers.remove(one.id)
    assert choose("auto:size=65536")["userns"]["uids"] == ((0, FIRST, 65536),)
    assert choose("auto:size=65537")["userns"]["uids"] == ((0, FIRST + 65546, 65537),)


def test_ids_that_users_may_map_are_left_to_them(choose, delegated):
    delegated.write_text(f"# some\nann:{FIRST}:100\nbob:{FIRST + 200}:50\nodd:x:y\nshort:1\n")
    assert choose("auto:size=100")["userns"]["uids"] == ((0, FIRST + 100, 100),)
    assert choose("auto:size=101")["userns"]["uids"] == ((0, FIRST + 250, 101),)


def test_given_ranges_are_left_to_whom_they_are_given(choose):
    found = choose(f"auto:size=10,uidmapping=0:{FIRST}:3,gidmapping=9:5:1")["userns"]
    first = FIRST + 3  # behind what is given
    assert found["uids"] == ((0, FIRST, 3), (3, first + 3, 7))
    assert found["gids"] == ((0, first, 9), (9, 5, 1))


def test_another_containers_ids(add, choose):
    one = add("one", details=choose("auto:size=10"))
    assert choose("container:one") == {"userns": one.details["userns"]}
    add("plain")
    with pytest.raises(Conflict, match="container plain: it has none of its own"):
        choose("container:plain")


def test_a_pool_that_is_used_up(add, choose):
    add("one", details=choose("auto:size=60", pool=(1000, 100)))
    with pytest.raises(Unavailable, match="no 50 ids in a row are free from 1000 to 1099"):
        choose("auto:size=50", pool=(1000, 100))


def test_maps_of_the_users_and_none(add, choose):
    maps = {"UidMap": ["0:5:1"], "GidMap": ["0:6:2"]}
    found = add("one", details=choose("private", IDMappings=maps))
    assert userns.maps_of(found) == IdMaps((Range(0, 5, 1),), (Range(0, 6, 2),))
    assert choose("") == choose("host") == {}
    assert userns.maps_of(add("two")) is None


def test_users_that_are_not_mapped():
    maps = IdMaps((Range(0, 100, 10),), (Range(0, 100, 5),))
    userns.require_ids(maps, 9, (0, 4))
    for uid, gids, words in ((10, (0,), "uid 10"), (0, (0, 5), "gid 5")):
        with pytest.raises(InvalidParameter, match=words):
            userns.require_ids(maps, uid, gids)


def test_owners_of_a_running_containers_files(add, tmp_path):
    details = {"userns": {"uids": [[0, 100, 10]], "gids": [[0, 200, 10]]}}
    record = add("one", details=details)
    with (tmp_path / "watch").open("w") as watch:
        live = View(record, -1, watch.fileno())
        assert live.owners_outside(0, 3) == (100, 203)
        assert live.owners_inside(100, 203) == (0, 3)
        assert live.owners_inside(0, 0) == live.owners_outside(10, 10) == (NOBODY, NOBODY)
    assert View(record, -1).owners_outside(0, 3) == (0, 3)


def test_settings():
    found = parse_settings(
        b'{"userns": "auto:size=9", "userns_pool": {"first": 7, "count": 8}}', "f"
    )
    assert (found["userns"], found["userns_pool"]) == ("auto:size=9", (7, 8))
    for text in (b'{"userns": "private"}', b'{"userns_pool": {"first": 0, "count": 1}}'):
        with pytest.raises(InvalidParameter, match="configuration file f: userns"):
            parse_settings(text, "f")


@pytest.mark.parametrize(("path", "number"), [("/dev/nothing-there", 3), ("/dev/zero", 3)])
def test_devices_must_be_where_the_host_has_them(path, number):
    null = devices.entry("/dev/null", "/dev/null")
    userns.require_devices([null, null._replace(access="r", mode=0o600)])
    with pytest.raises(InvalidParameter, match=f"device {path} is at another path on the host"):
        userns.require_devices([null, null._replace(path=path, minor=number)])
