"""A container's budgets: ids and limits from create to removal, on a made-up project quota."""

from __future__ import annotations

import errno
import os

import pytest

from runengine.errors import Conflict, InvalidParameter, Unsupported
from runengine.mgr.container import disk_quota
from runengine.oci_spec.mounts import MountPoint
from runengine.oci_spec.volume_mounts import VolumeWish
from runengine.rootfs import quota
from runengine.rootfs.quota import FIRST_ID
from tests.support.fake_quota import FakeQuota

MIB = 1 << 20
VOLUME = {"type": "volume", "destination": "/data", "volume": {"name": "data"}}


@pytest.fixture
def fake(monkeypatch, tmp_path):
    made = FakeQuota()
    (tmp_path / "locks").mkdir()
    made.install(monkeypatch, str(tmp_path / "locks"))
    return made


@pytest.fixture
def box(context, add, fake):
    """Makes a container with budgets, as create does."""
    os.makedirs(context.paths.root, exist_ok=True)

    def make(name, host, *, points=()):
        template = add(f"{name}-template", host=host, details={"points": list(points)})
        with disk_quota.chosen(context, template) as details:
            record = add(name, host=host, details={"points": list(points), **details})
        context.store.containers.remove(template.id)
        for part in ("upper", "work"):
            os.makedirs(f"{context.data_dir(record.id)}/{part}")
        disk_quota.claim_layer(record, context.data_dir(record.id))
        return record

    return make


def upper(context, record):
    return f"{context.data_dir(record.id)}/upper"


def test_from_create_to_removal(context, box, fake):
    one = box("one", {"StorageOpt": {"size": "1m", "inodes": "5"}})
    two = box("two", {"DiskQuota": {"/": "2m"}})
    assert fake.limits == {FIRST_ID: (MIB, 5), FIRST_ID + 1: (2 * MIB, 0)}
    assert fake.of(upper(context, one)) == FIRST_ID
    assert fake.of(upper(context, two)) == FIRST_ID + 1
    disk_quota.release(context, one)
    disk_quota.release(context, one)
    assert fake.limits[FIRST_ID] == (0, 0)
    assert fake.limits[FIRST_ID + 1] == (2 * MIB, 0)


def test_an_id_that_two_share_is_free_after_both(context, box, fake):
    host = {"DiskQuota": {"/": "1m"}, "QuotaId": "99"}
    one, two = box("one", host), box("two", host)
    disk_quota.release(context, one)
    assert fake.limits[99] == (MIB, 0)
    context.store.containers.remove(one.id)
    disk_quota.release(context, two)
    assert fake.limits[99] == (0, 0)


def test_volumes_come_to_the_budget_unless_they_have_one(box, fake, tmp_path):
    record = box("one", {"DiskQuota": {".*": "1m"}, "QuotaId": "-1"}, points=[VOLUME])
    mine, other, bind = (tmp_path / name for name in ("mine", "other", "bind"))
    for path in (mine, other, bind):
        path.mkdir()
    fake.projects[other.stat().st_ino] = 7
    wish = VolumeWish("data")
    points = [MountPoint("bind", str(path), "/data", volume=wish) for path in (mine, other)]
    disk_quota.claim_volumes(record, [*points, MountPoint("bind", str(bind), "/data")])
    assert [fake.of(path) for path in (mine, other, bind)] == [FIRST_ID, 7, 0]


def test_nothing_is_left_where_it_cannot_be(context, add, fake):
    os.makedirs(context.paths.root, exist_ok=True)
    record = add("one", host={"DiskQuota": {"/": "1m"}}, details={"points": []})
    fake.missing = errno.ENOSYS
    with pytest.raises(Unsupported), disk_quota.chosen(context, record):
        raise AssertionError("it was accepted")
    fake.missing = 0
    with pytest.raises(KeyboardInterrupt), disk_quota.chosen(context, record):
        raise KeyboardInterrupt
    assert fake.limits == {FIRST_ID: (0, 0)}


def test_a_limit_that_another_has_survives_a_failed_create(context, add, fake):
    os.makedirs(context.paths.root, exist_ok=True)
    fake.limits[99] = (5 * MIB, 6)
    host = {"DiskQuota": {"/": "1m"}, "QuotaId": "99"}
    record = add("one", host=host, details={"points": []})

    def interrupted() -> None:
        with disk_quota.chosen(context, record):
            assert fake.limits[99] == (MIB, 0)
            # Volumes with limits of their own may be made by now.
            quota.limit_directory(context.paths.root, quota.Limits(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert fake.limits[99] == (5 * MIB, 6)


def test_other_sizes_later(context, box, fake):
    record = box("one", {"DiskQuota": {"/": "1m"}})
    with disk_quota.changed(context, record, {"/": "3m"}) as after:
        context.store.containers.set_configuration(after)
    found = context.store.containers.get(record.id)
    assert found.host_config["DiskQuota"] == {"/": "3m"}
    assert disk_quota.projects_of(found)[0].size_bytes == 3 * MIB
    assert fake.limits == {FIRST_ID: (3 * MIB, 0)}
    with pytest.raises(ZeroDivisionError), disk_quota.changed(context, found, {"/": "9m"}):
        raise ZeroDivisionError
    assert fake.limits == {FIRST_ID: (3 * MIB, 0)}
    assert context.store.containers.get(record.id).details == found.details


def test_a_first_size_later(context, box, fake):
    record = box("one", {})
    with disk_quota.changed(context, record, {".*": "3m"}) as after:
        assert after.host_config["QuotaId"] == "-1"
    assert fake.of(upper(context, record)) == FIRST_ID
    assert fake.limits == {FIRST_ID: (3 * MIB, 0)}


def test_what_cannot_change(context, box):
    record = box("one", {"DiskQuota": {"/&/data": "1m"}}, points=[VOLUME])
    with pytest.raises(Conflict, match="have one budget already"):
        disk_quota.changed(context, record, {"/": "2m"}).__enter__()
    record = box("two", {"StorageOpt": {"size": "1m"}}, points=[VOLUME])
    with pytest.raises(InvalidParameter, match="made with --storage-opt"):
        disk_quota.changed(context, record, {"/data": "2m"}).__enter__()
