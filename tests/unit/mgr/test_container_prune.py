"""``container prune``: who goes and who stays."""

from __future__ import annotations

import os

import pytest

from runengine.errors import InvalidParameter
from runengine.linux import clock, pidfd
from runengine.mgr.container import prune


@pytest.fixture(autouse=True)
def _nothing_is_mounted(monkeypatch):
    monkeypatch.setattr("runengine.linux.mount.is_mounted", lambda _target: False)
    monkeypatch.setattr("runengine.linux.mount.unmount", lambda _target: False)


@pytest.fixture
def boxes(context, add):
    """One that runs, one that has ended, one that never ran; ids by name."""
    running = {
        "Status": "running", "Pid": os.getpid(), "StartTime": pidfd.start_time(os.getpid()),
        "BootId": clock.boot_id(),
    }  # fmt: skip
    records = [
        add("runs", labels={"keep": "no"}, **running),
        add("ended", labels={"keep": "no"}, Status="exited"),
        add("fresh", labels={"keep": "yes"}, Status="created"),
    ]
    for record in records:
        os.makedirs(f"{context.data_dir(record.id)}/upper")
    with open(f"{context.data_dir(records[1].id)}/upper/file", "wb") as file:
        file.write(b"x" * 9000)
    return {record.name: record.id for record in records}


def names(context):
    return {record.name for record in context.store.containers.all()}


def test_those_that_do_not_run_go(context, boxes):
    done = prune.prune(context, {})
    assert set(done.removed) == {boxes["ended"], boxes["fresh"]}
    assert done.freed_bytes >= 9000
    assert names(context) == {"runs"}
    assert not os.path.exists(context.data_dir(boxes["ended"]))
    assert prune.prune(context, {}) == ([], 0)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"label": ["keep=no"]}, {"runs", "fresh"}),
        ({"label!": ["keep=no"]}, {"runs", "ended"}),
        ({"label": ["keep", "other"]}, {"runs", "ended", "fresh"}),
        ({"until": ["2025-01-01"]}, {"runs", "ended", "fresh"}),
        ({"until": ["2026-06-01"], "label": ["keep=yes"]}, {"runs", "ended"}),
    ],
)
def test_filters(context, boxes, filters, left):
    prune.prune(context, filters)
    assert names(context) == left


@pytest.mark.parametrize("filters", [{"name": ["x"]}, {"until": ["soon"]}])
def test_bad_filters_remove_nothing(context, boxes, filters):
    with pytest.raises(InvalidParameter):
        prune.prune(context, filters)
    assert len(names(context)) == 3
