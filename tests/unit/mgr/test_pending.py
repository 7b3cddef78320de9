"""Which containers show as restarting, by what is seen of those that wait."""

import pytest

from runengine.mgr.container import observe, pending, policy
from runengine.model import host_config
from runengine.store.containers import Restarts, created_state

NOTE = pending.Note(7, 7, 0.0)


@pytest.fixture
def look(context, add, monkeypatch):
    """The status shown of a container that has failed."""
    one = add("one")

    def look(words, *, times=0, monitor=False, note=None, desired=policy.RUNNING):
        monkeypatch.setattr(observe, "monitor_lives", lambda *_: monitor)
        monkeypatch.setattr(pending, "find", lambda *_: note)
        host = {**host_config(), "RestartPolicy": policy.parse(words)}
        record = one._replace(
            host_config=host, desired=desired, restarts=Restarts(times, 0.1)
        )
        state = created_state()
        state |= {"Status": "exited", "ExitCode": 1}
        state |= {"StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "2026-01-01T00:00:01Z"}
        return pending.shown(context, record, state)["Status"]

    return look


def test_between_an_exit_and_its_note(look):
    assert look("always", monitor=True) == "restarting"
    assert look("on-failure:2", times=1, monitor=True) == "restarting"


def test_the_last_exit_is_one(look):
    assert look("on-failure:2", times=2, monitor=True) == "exited"
    assert look("on-failure:2", times=2) == "exited"


def test_the_last_restart_shows_while_it_is_made(look):
    """It is counted already, and the monitor that lives is the next run's."""
    assert look("on-failure:2", times=2, monitor=True, note=NOTE) == "restarting"


def test_without_anybody_who_waits(look):
    assert look("always") == "exited"
    assert look("no", monitor=True, note=NOTE) == "exited"
    assert look("always", monitor=True, note=NOTE, desired=policy.STOPPED) == "exited"
