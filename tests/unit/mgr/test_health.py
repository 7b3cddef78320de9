"""Health checks from the engine's side: orders for the monitor, and how its findings are shown."""

import fcntl
import json
import os

import pytest

from runengine.mgr.container import health, status
from runengine.mgr.container.listing import Seen, list_containers, summary
from runengine.model import container_config
from runengine.store.containers import created_state
from tests.support.documents import changed
from tests.unit.mgr.test_observe import live_state

CHECK = {"Test": ["CMD-SHELL", "check it"]}
SPEC = {"process": {"args": ["init", "x"], "terminal": True, "env": ["A=1"], "cwd": "/srv",
                    "user": {"uid": 5}, "noNewPrivileges": True}}  # fmt: skip


@pytest.fixture
def checked(context, add):
    """Adds a container that runs and has a health check."""

    def add_one(name="web", check=CHECK, **state):
        record = add(name, **{**live_state(), "StartedAt": "2026-01-01T00:00:00Z", **state})
        return record._replace(config={**record.config, "Healthcheck": check})

    return add_one


@pytest.fixture
def monitor(context):
    """Holds the lock that a monitor would hold, and writes what it would write."""
    held = []

    def pose(record, document=None):
        directory = context.state_dir(record.id)
        os.makedirs(directory, exist_ok=True)
        held.append(os.open(f"{directory}/monitor.lock", os.O_RDWR | os.O_CREAT))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
        if document:
            with open(f"{directory}/health.json", "w") as file:
                json.dump(document, file)

    yield pose
    for fd in held:
        os.close(fd)


@pytest.mark.parametrize(
    ("check", "shell", "words"),
    [
        (None, None, None),
        ({}, None, None),
        ({"Interval": 5}, None, None),
        ({"Test": []}, None, None),
        ({"Test": None}, None, None),
        ({"Test": ["NONE"]}, None, None),
        ({"Test": ["ODD", "x"]}, None, None),
        ({"Test": ["CMD", "curl", "-f x"]}, ["/bin/bash", "-c"], ["curl", "-f x"]),
        ({"Test": ["CMD-SHELL", "a b"]}, None, ["/bin/sh", "-c", "a b"]),
        ({"Test": ["CMD-SHELL", "a b"]}, ["/bin/bash", "-c"], ["/bin/bash", "-c", "a b"]),
    ],
)
def test_the_probes_command(check, shell, words):
    config = changed(container_config("busybox"), {"Healthcheck": check, "Shell": shell})
    assert health.command(config) == words


def test_orders_with_dockers_defaults(context, checked):
    orders = dict(health.prepare(context, checked(), SPEC) or {})
    process = orders.pop("process")
    assert orders == {
        "interval_s": 30,
        "timeout_s": 30,
        "timeout_text": "30s",
        "retries": 3,
        "start_period_s": 0,
        "start_interval_s": 5,
        "path": orders["path"],
    }
    expected = {**SPEC["process"], "terminal": False, "args": ["/bin/sh", "-c", "check it"]}
    assert process == expected


def test_orders_as_asked_for(context, checked):
    times = {"Interval": 100_000_000, "Timeout": 1_500_000_000, "StartPeriod": 60_000_000_000,
             "StartInterval": 1_000_000, "Retries": 1}  # fmt: skip
    orders = dict(health.prepare(context, checked(check={**CHECK, **times}), SPEC) or {})
    del orders["process"], orders["path"]
    assert orders == {
        "interval_s": 0.1,
        "timeout_s": 1.5,
        "timeout_text": "1.5s",
        "retries": 1,
        "start_period_s": 60,
        "start_interval_s": 0.001,
    }


@pytest.mark.parametrize("check", [CHECK, {"Test": ["NONE"]}])
def test_a_start_forgets_what_the_last_run_found(context, checked, monitor, check):
    record = checked(check=check)
    monitor(record, {"Status": "healthy", "FailingStreak": 0, "Log": []})
    health.prepare(context, record, SPEC)
    found = health.status(context, record, record.state)
    assert found == ("starting" if check is CHECK else "none")


@pytest.mark.parametrize("word", ["starting", "healthy", "unhealthy"])
def test_what_the_monitor_found_is_shown(context, checked, monitor, word):
    record = checked()
    found = {"Status": word, "FailingStreak": 2, "Log": [{"ExitCode": 1}]}
    monitor(record, found)
    assert health.document(context, record, record.state) == found
    shown = summary(context, Seen(record, record.state))["Status"]
    assert shown.endswith({"starting": "(health: starting)"}.get(word, f"({word})"))


@pytest.mark.parametrize("junk", [["healthy"], {"Status": "purple"}, "healthy", {"Log": 3}])
def test_what_is_damaged_tells_nothing(context, checked, monitor, junk):
    record = checked()
    monitor(record, junk)
    assert health.status(context, record, record.state) == "starting"


def test_with_its_monitor_killed_nobody_knows(context, checked, monitor):
    record = checked()
    found = {"Status": "healthy", "FailingStreak": 0, "Log": [{"ExitCode": 0}]}
    directory = context.state_dir(record.id)
    os.makedirs(directory)
    with open(f"{directory}/health.json", "w") as file:
        json.dump(found, file)
    assert health.document(context, record, record.state) == {**found, "Status": "unhealthy"}
    monitor(record)
    assert health.document(context, record, record.state) == found


def test_an_ended_one_is_unhealthy_and_its_listing_says_nothing(context, checked):
    record = checked(Status="exited", ExitCode=0, FinishedAt="2026-01-01T00:00:01Z")
    assert health.status(context, record, record.state) == "unhealthy"
    shown = summary(context, Seen(record, record.state))["Status"]
    assert shown.startswith("Exited (0)")
    assert shown.endswith("ago")


def test_before_the_first_start_there_is_none(context, add):
    record = add("new")
    record = record._replace(config={**record.config, "Healthcheck": CHECK})
    assert health.document(context, record, record.state) is None
    assert health.status(context, record, record.state) == "none"


def test_the_filter(context, add, monitor):
    add("plain", **live_state())
    record = add("web", **live_state(StartedAt="2026-01-01T00:00:00Z"))
    context.store.containers.remove(record.id)
    record = record._replace(config={**record.config, "Healthcheck": CHECK})
    context.store.containers.add(record)
    monitor(record, {"Status": "healthy", "FailingStreak": 0, "Log": []})

    def names(word):
        found = list_containers(
            context, everything=True, filters={"health": [word]}, limit=0, size=False
        )
        return [entry["Names"][0] for entry in found]

    assert names("healthy") == ["/web"]
    assert names("none") == ["/plain"]
    assert names("starting") == names("unhealthy") == []


def test_a_paused_ones_status_has_no_health(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_767_225_603)
    state = changed(created_state(), {"Status": "paused", "StartedAt": "2026-01-01T00:00:00.0Z"})
    assert status.describe(state, "healthy") == "Up 3 seconds (Paused)"
    assert status.describe(changed(state, {"Status": "running"}), "healthy") == (
        "Up 3 seconds (healthy)"
    )


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (7, "7ns"),
        (1500, "1.5µs"),
        (1_000_000, "1ms"),
        (100_500_000, "100.5ms"),
        (1_000_000_000, "1s"),
        (30_000_000_000, "30s"),
        (90_000_000_000, "1m30s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (3_723_500_000_000, "1h2m3.5s"),
    ],
)
def test_durations_as_go_writes_them(ns, text):
    assert health.duration_text(ns) == text
