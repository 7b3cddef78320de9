"""Containers that go: files first, then the record, whatever is in the way."""

import errno
import os
from pathlib import Path

import pytest

from runengine.errors import Unavailable
from runengine.mgr.container import discard
from runengine.store.journal import parse_block
from runengine.store.volumes import CREATING, Volume


@pytest.fixture
def box(context, add, tmp_path):
    """One that has ended, with a file, a log elsewhere and an anonymous volume."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "container.log").touch()
    record = add("box", Status="exited", details={"log_dir": str(logs)})
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{context.data_dir(record.id)}/{name}")
    Path(context.data_dir(record.id), "upper/file").write_text("x")
    os.makedirs(context.state_dir(record.id))
    wish = Volume("anon", "local", "2026", status=CREATING, made_for=record.id)
    context.volumes.attach_all(record.id, [wish], ["anon"])
    return record


def left(context, record):
    """What is there of the container."""
    places = {
        "data": context.data_dir(record.id),
        "state": context.state_dir(record.id),
        "logs": record.details["log_dir"],
    }
    found = [name for name, path in places.items() if os.path.exists(path)]
    return [
        *found,
        *context.store.volumes.names(),
        *(r.status for r in context.store.containers.all()),
    ]


def actions(context):
    with open(context.paths.journal, "rb") as file:
        return [one["Action"] for one in parse_block(file.read()) if one["Type"] == "container"]


def die(*_args):
    raise KeyboardInterrupt


def test_all_of_it_goes(context, box):
    discard.remove_settled(context, box, volumes=True)
    assert left(context, box) == []
    assert actions(context) == ["destroy"]


def test_anonymous_volumes_stay_unless_they_are_meant(context, box):
    discard.remove_settled(context, box)
    assert left(context, box) == ["anon"]


def test_nothing_is_removed_through_a_mount(context, box, monkeypatch):
    monkeypatch.setattr("runengine.linux.mount.is_mounted", lambda _target: True)
    with pytest.raises(Unavailable, match="merged is still mounted"):
        discard.remove_settled(context, box)
    assert left(context, box) == ["data", "state", "logs", "anon", "removing"]
    assert Path(context.data_dir(box.id), "upper/file").read_text() == "x"


def test_what_cannot_be_removed_is_named_and_the_record_stays(context, box, monkeypatch):
    def refuse(directory):
        raise OSError(errno.EPERM, "Operation not permitted", f"{directory}/upper/file")

    with monkeypatch.context() as patch:
        patch.setattr("runengine.rootfs.walk.remove_tree", refuse)
        with pytest.raises(Unavailable, match="upper/file Operation not permitted"):
            discard.remove_settled(context, box)
    assert left(context, box) == ["data", "state", "logs", "anon", "removing"]
    assert not os.path.exists(context.paths.journal) or actions(context) == []
    discard.remove_settled(context, context.store.containers.get(box.id))
    assert left(context, box) == ["anon"]


def test_a_removal_that_is_killed_is_taken_up_with_its_volumes(context, box, monkeypatch):
    """By whoever comes next, who has not been asked to remove any."""
    with monkeypatch.context() as patch:
        patch.setattr("runengine.mgr.volume.manager.VolumeMgr.leave", lambda *_a, **_k: die())
        with pytest.raises(KeyboardInterrupt):
            discard.remove_settled(context, box, volumes=True)
    assert left(context, box) == ["data", "state", "logs", "anon", "removing"]
    discard.remove_settled(context, context.store.containers.get(box.id))
    assert left(context, box) == []


def test_the_record_is_the_last_to_go(context, box, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(context.store.containers, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            discard.remove_settled(context, box)
    assert left(context, box) == ["state", "anon", "removing"]
    discard.remove_settled(context, context.store.containers.get(box.id))
    assert left(context, box) == ["anon"]


def test_a_creation_that_failed_leaves_nothing_and_no_event(context, box):
    discard.forget_half_made(context, box)
    assert left(context, box) == []
    assert not os.path.exists(context.paths.journal) or actions(context) == []
