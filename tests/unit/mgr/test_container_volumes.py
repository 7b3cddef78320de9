"""What a container mounts (rows P-09 to P-12)."""

import pytest

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.container import volumes
from runengine.model import container_config, host_config
from runengine.oci_spec.mounts import MountPoint, anonymous_volume
from runengine.oci_spec.volume_mounts import VolumeWish
from tests.support.documents import changed


@pytest.fixture
def plan(context):
    """Decides on mounts; keywords are fields of the host configuration."""

    def plan_one(*image_volumes, **host):
        volumes_of_image: dict[str, dict] = {path: {} for path in image_volumes}
        config = changed(container_config(), {"Volumes": volumes_of_image})
        return volumes.plan(context, config, changed(host_config(), host))

    return plan_one


def shown(points):
    """Destination, what is there, and whether it is writable."""
    return [
        (point.destination, point.volume.name[:8] if point.volume else point.source or point.type,
         not point.readonly)
        for point in points
    ]


def other(add, points, name="other"):
    details = {"points": volumes.to_documents(points)}
    return add(name, details=details)


def test_the_request_goes_over_others_and_both_over_the_image(plan, add):  # P-11
    other(add, [
        MountPoint("bind", "/host", "/a"),
        MountPoint("bind", "/host", "/b"),
        MountPoint("volume", "", "/c", volume=VolumeWish("theirs")),
        MountPoint("tmpfs", "", "/t"),
    ])
    found = plan(
        "/a", "/b/", "/c", "/d", "/t", "/s",
        Binds=["mine:/a"], Tmpfs={"/s": ""}, VolumesFrom=["other"],
    )
    assert [point.destination for point in found] == ["/a", "/s", "/b", "/c", "/d", "/t"]
    by_place = {point.destination: point for point in found}
    assert by_place["/a"].volume == VolumeWish("mine")
    assert by_place["/b"].source == "/host"
    assert by_place["/c"].volume == VolumeWish("theirs")
    for place in ("/d", "/t"):
        assert by_place[place].volume.anonymous
        assert len(by_place[place].volume.name) == 64


def test_each_anonymous_volume_has_a_name_of_its_own(plan):
    first, second = plan("/a", "/b")
    assert first.volume.name != second.volume.name
    assert plan("/a")[0].volume.name != first.volume.name


@pytest.mark.parametrize(
    ("mode", "writable"), [("", [True, False]), (":ro", [False, False]), (":rw,z", [True, True])]
)
def test_borrowed_mounts_are_as_they_were_or_as_is_said(plan, add, mode, writable):  # P-12
    other(add, [
        MountPoint("bind", "/x", "/x", propagation="rslave"),
        MountPoint("volume", "", "/y", readonly=True, volume=VolumeWish("data")),
    ])
    found = plan(VolumesFrom=[f"other{mode}"])
    assert shown(found) == [("/x", "/x", writable[0]), ("/y", "data", writable[1])]
    assert found[0].propagation == "rslave"


def test_the_last_of_several_lenders_counts(plan, add):
    other(add, [MountPoint("bind", "/one", "/x")], "one")
    other(add, [MountPoint("bind", "/two", "/x")], "two")
    assert shown(plan(VolumesFrom=["one", "two"])) == [("/x", "/two", True)]


@pytest.mark.parametrize("text", [":ro", "other:ro,rw", "other:rslave", "other:nocopy"])
def test_bad_lenders(plan, add, text):
    other(add, [])
    with pytest.raises(InvalidParameter, match="--volumes-from"):
        plan(VolumesFrom=[text])


def test_a_lender_that_is_not_there(plan):
    with pytest.raises(NotFound, match="nobody"):
        plan(VolumesFrom=["nobody"])


def test_one_driver_for_all_that_name_none(plan):
    mount = {"Type": "volume", "Source": "own", "Target": "/c",
             "VolumeOptions": {"DriverConfig": {"Name": "local"}}}
    found = plan("/a", Binds=["data:/b"], Mounts=[mount], VolumeDriver="nfs")
    drivers = {point.destination: point.volume.driver for point in found}
    assert drivers == {"/a": "nfs", "/b": "nfs", "/c": "local"}


def test_what_is_kept_comes_back_and_is_short(add):
    points = [
        MountPoint("bind", "/x", "/x", True, "rslave", create_source=True, mode="ro,rslave"),
        MountPoint("tmpfs", "", "/t", options=("size=1m",)),
        anonymous_volume("/a")._replace(volume=VolumeWish("data", True, labels={"a": "b"})),
    ]
    documents = volumes.to_documents(points)
    assert documents[2] == {
        "type": "volume",
        "destination": "/a",
        "idmap": True,
        "volume": {"name": "data", "anonymous": True, "labels": {"a": "b"}},
    }
    assert volumes.points_of(other(add, points)) == points


def test_containers_of_before_have_what_their_requests_named(add):
    record = add("old", host={"Binds": ["/x:/y:ro"], "Tmpfs": {"/t": ""}})
    assert shown(volumes.points_of(record)) == [("/y", "/x", False), ("/t", "tmpfs", True)]


def test_what_inspect_shows(context, plan):
    points = plan("/anon", Binds=["data:/d:ro", "data:/a/b:dr", "/h:/h"])
    documents = {one["Destination"]: one for one in volumes.documents(context, points)}
    assert documents["/d"] == {
        "Type": "volume",
        "Name": "data",
        "Source": f"{context.paths.root}/volumes/data/_data",
        "Destination": "/d",
        "Driver": "local",
        "Mode": "ro",
        "RW": False,
        "Propagation": "",
    }
    assert documents["/h"]["Propagation"] == "rprivate"
    assert len(documents["/anon"]["Name"]) == 64
    assert "Name" not in documents["/a/b"]  # P-14


def test_attaching_makes_each_volume_once(context, plan, add):
    points = plan("/anon", Binds=["data:/d", "data:/e:ro"])
    record = add("one", details={"points": volumes.to_documents(points)})
    volumes.attach(context, record)
    anonymous = next(point.volume.name for point in points if point.volume.anonymous)
    assert sorted(context.store.volumes.used_by(record.id)) == sorted(["data", anonymous])
    assert context.store.volumes.used_by(record.id, only_anonymous=True) == [anonymous]
    assert context.store.volumes.get(anonymous).anonymous
    assert context.store.volumes.get("data").made_for == record.id
    assert not volumes.must_let_go(context, record)
