"""Who has a volume mounted: notes that count for what their containers do."""

import os
from typing import ClassVar

import pytest

from runengine.errors import Unavailable
from runengine.mgr.volume import mounting
from runengine.mgr.volume.local import LocalDriver
from runengine.mgr.volume.request import volume_config


class Driver(LocalDriver):
    """A driver whose mounts are notes."""

    log: ClassVar[list[str]] = []
    broken = False

    def must_mount(self, volume):
        return True

    def mount(self, volume, container_id):
        if self.broken:
            raise Unavailable("no")
        self.log.append(f"mount {container_id}")
        return "/somewhere"

    def unmount(self, volume, container_id, *, last):
        if self.broken:
            raise Unavailable("no")
        self.log.append(f"unmount {container_id}{' last' if last else ''}")


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(Driver, "log", [])
    monkeypatch.setattr(mounting, "driver_of", lambda context, _: Driver(context))
    return Driver.log


@pytest.fixture
def busy():
    """Ids of containers that run."""
    return set()


@pytest.fixture
def own(context, busy):
    return context.volumes._context._replace(is_busy=busy.__contains__)


@pytest.fixture
def volume(context):
    return context.volumes.create(volume_config("data"))


def test_the_last_one_unmounts(own, log, busy, volume):
    busy |= {"a", "b"}
    assert mounting.hold(own, volume, "a") == "/somewhere"
    mounting.hold(own, volume, "b")
    mounting.release(own, "data", "a")
    mounting.release(own, "data", "a")
    assert mounting.holders(own, "data") == ["b"]
    mounting.release(own, "data", "b")
    assert log == ["mount a", "mount b", "unmount a", "unmount b last"]
    assert not mounting.is_held(own, "data", "b")


def test_what_died_counts_for_nothing(own, log, volume):
    mounting.hold(own, volume, "dead")
    mounting.hold(own, volume, "a")
    mounting.release(own, "data", "a")
    assert log[-1] == "unmount a last"
    assert mounting.holders(own, "data") == []


def test_both_at_their_end_at_once_leave_nothing(own, log, busy, volume):
    """Each is being worked on while the other looks: the notes tell who is the last."""
    busy |= {"a", "b"}
    mounting.hold(own, volume, "a")
    mounting.hold(own, volume, "b")
    mounting.release(own, "data", "b")
    mounting.release(own, "data", "a")
    assert log[-1] == "unmount a last"


def test_a_mount_that_fails_leaves_no_note(own, log, volume, monkeypatch):
    monkeypatch.setattr(Driver, "broken", True)
    with pytest.raises(Unavailable):
        mounting.hold(own, volume, "a")
    assert not mounting.is_held(own, "data", "a")
    assert log == []


def test_an_unmount_that_fails_is_tried_again(own, log, volume, monkeypatch):
    mounting.hold(own, volume, "a")
    monkeypatch.setattr(Driver, "broken", True)
    mounting.release_all(own, ["data", "other"], "a")
    assert mounting.is_held(own, "data", "a")
    monkeypatch.setattr(Driver, "broken", False)
    mounting.release_all(own, ["data"], "a")
    assert log[-1] == "unmount a last"


def test_notes_go_with_their_volume(own, log, volume):
    mounting.hold(own, volume, "dead")
    mounting.forget(own, "data")
    assert not os.path.exists(f"{own.directory}/data")
    assert log == ["mount dead"]
