"""A runtime that hangs, fails or is gone keeps no container from being stopped and removed."""

from __future__ import annotations

import os
from typing import Any

import pytest

from runengine.errors import RuntimeFailed, TimedOut, Unavailable
from runengine.linux import pidfd
from runengine.mgr.container import observe, recover, remove, runtime, stop
from runengine.monitor import cgroup

pytestmark = pytest.mark.side_effects  # what is not mounted is unmounted


class Broken:
    """Fails whatever it is asked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def delete(self, *_: object, **__: object) -> None:
        raise self._error

    resume = delete


@pytest.mark.parametrize(
    "error", [TimedOut("hangs"), RuntimeFailed("boom"), Unavailable("not there")]
)
def test_what_it_has_of_an_ended_container_is_removed(context, add, monkeypatch, error):
    record = add("box", Status="exited")
    kept = f"{context.paths.runtime_root}/{record.id}"
    os.makedirs(kept)
    monkeypatch.setattr(runtime, "runtime_of", lambda *_: Broken(error))
    recover.tear_down(context, record)
    assert not os.path.exists(kept)


def test_one_that_is_not_configured_any_more(context, add):
    record = add("box", host={"Runtime": "older"}, Status="exited")
    os.makedirs(f"{context.paths.runtime_root}/{record.id}")
    with pytest.raises(Unavailable, match="'older' is configured"):
        runtime.runtime_of(context, record)
    remove.remove(context, "box", force=False)
    assert context.find(record.id) is None


def test_a_paused_container_is_thawed_without_it(context, add, monkeypatch):
    record = add("box")
    paused: Any = {**record.state, "Status": "paused"}
    thawed: list[Any] = []
    monkeypatch.setattr(runtime, "runtime_of", lambda *_: Broken(TimedOut("hangs")))
    monkeypatch.setattr(cgroup, "thaw", thawed.append)
    monkeypatch.setattr(observe, "is_frozen", lambda _: not thawed)
    fd = os.pidfd_open(os.getpid())
    try:
        stop._thaw(context, record, paused, fd)
        assert thawed == [record.details.get("cgroup", {})]
        monkeypatch.setattr(observe, "is_frozen", lambda _: True)
        monkeypatch.setattr(pidfd, "wait", lambda *_: False)
        with pytest.raises(TimedOut, match="hangs"):
            stop._thaw(context, record, paused, fd)
    finally:
        os.close(fd)
