"""What the monitor writes down."""

import time
from typing import Any

import pytest

from runengine.monitor import journal
from runengine.store.journal import parse_block

ENDED = {"exit_code": 137, "signal": 9, "oom_killed": True}


@pytest.fixture
def job(tmp_path):
    path = str(tmp_path / "journal")
    return {"id": "c1", "events": {"path": path, "attributes": {"image": "bb", "name": "box"}}}


def written(job):
    with open(job["events"]["path"], "rb") as file:
        return list(parse_block(file.read()))


def test_a_message_has_dockers_shape(job):
    before = time.time_ns()
    journal.note(job, "health_status: healthy", {"extra": "1"})
    (found,) = written(job)
    at = found.pop("timeNano")
    assert before <= at <= time.time_ns()
    assert found == {
        "status": "health_status: healthy",
        "id": "c1",
        "from": "bb",
        "Type": "container",
        "Action": "health_status: healthy",
        "Actor": {"ID": "c1", "Attributes": {"image": "bb", "name": "box", "extra": "1"}},
        "scope": "local",
        "time": at // 1_000_000_000,
    }


def test_images_have_no_from():
    assert "from" not in journal.message("image", "pull", "bb:latest", {"name": "bb"})


def test_a_start_says_how_long_it_took(job):
    job["events"]["began_ns"] = time.monotonic_ns() - 5_000_000
    journal.started(job, attached=True)
    attach, start = written(job)
    assert (attach["Action"], start["Action"]) == ("attach", "start")
    assert "tookNs" not in attach
    assert 5_000_000 <= start["tookNs"] < 60_000_000_000


def test_oom_comes_before_the_end(job):
    journal.ended(job, ENDED, 2.9)
    oom, die = written(job)
    assert oom["Action"] == "oom"
    assert die["Action"] == "die"
    assert die["Actor"]["Attributes"] == {
        "image": "bb",
        "name": "box",
        "exitCode": "137",
        "signal": "9",
        "oomKilled": "true",
        "execDuration": "2",
    }


def test_a_plain_end_has_a_code_alone(job):
    journal.ended(job, {"exit_code": 0, "signal": None, "oom_killed": False}, 0.1)
    (die,) = written(job)
    attributes = die["Actor"]["Attributes"]
    assert (attributes["exitCode"], attributes["execDuration"]) == ("0", "0")
    assert not attributes.keys() & {"signal", "oomKilled"}


def test_volumes_are_let_go_after_the_end(job):
    job["events"]["volumes"] = [["data", "local"]]
    journal.ended(job, {"exit_code": 0, "signal": None, "oom_killed": False}, 0.1)
    die, unmount = written(job)
    assert (die["Action"], unmount["Type"], unmount["Action"]) == ("die", "volume", "unmount")
    assert unmount["Actor"] == {
        "ID": "data", "Attributes": {"container": "c1", "driver": "local"}
    }


def test_exec_sessions(job):
    request = {"exec_id": "e1", "process": {"args": ["sh", "-c", "true"]}, "began_ns": 1}
    journal.exec_started(job, request)
    journal.exec_ended(job, "e1", 3)
    journal.detached(job, "e1")
    journal.detached(job, None)
    start, die, left, left_container = written(job)
    assert start["Action"] == "exec_start: sh -c true"
    assert start["tookNs"] > 0
    assert (die["Action"], die["Actor"]["Attributes"]["exitCode"]) == ("exec_die", "3")
    assert (left["Action"], left["Actor"]["Attributes"]["execID"]) == ("exec_detach", "e1")
    assert left_container["Action"] == "detach"


def test_the_jobs_own_attributes_stay(job):
    journal.note(job, "die", {"name": "other"})
    assert job["events"]["attributes"]["name"] == "box"


@pytest.mark.parametrize("path", ["/dev/full", "/proc/nowhere/journal", "/"])
def test_no_disk_makes_an_action_fail(job, path):
    job["events"]["path"] = path
    journal.ended(job, ENDED, 0)


def test_a_job_without_events_writes_none(tmp_path):
    bare: Any = {"id": "c1"}
    journal.note(bare, "die", {})
    journal.started(bare, attached=True)
    assert list(tmp_path.iterdir()) == []
