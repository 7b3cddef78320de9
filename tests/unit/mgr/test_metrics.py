"""What a scrape says, on a store with containers that are records only."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from runengine.launcher.exporter import expose
from runengine.mgr.metrics import Collector
from tests.unit.mgr.test_observe import live_state

OPEN_METRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


@pytest.fixture
def collector(context):
    found = Collector(context.paths)
    yield found
    found.close()


def scrape(collector, accept=""):
    """Samples by name and labels."""
    text = expose(collector, accept).content.decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def write_message(paths, action, attributes=None, **more):
    os.makedirs(os.path.dirname(paths.journal), exist_ok=True)
    document = {
        "Type": "container", "Action": action, "time": 1, "timeNano": 10**9,
        "Actor": {"ID": "x", "Attributes": attributes or {}}, **more,
    }
    with open(paths.journal, "a", encoding="ascii") as file:
        file.write(json.dumps(document) + "\n")


def v2_cgroup(directory):
    files = {
        "cpu.stat": "usage_usec 1500000\n", "memory.current": "4096\n", "memory.peak": "8192\n",
        "memory.max": "max\n", "memory.events": "oom_kill 2\n", "pids.current": "3\n",
        "pids.max": "32\n", "io.stat": "8:0 rbytes=10 wbytes=20\n", "cgroup.freeze": "0\n",
        "cgroup.controllers": "cpu memory\n",
    }
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return {"unified": str(directory)}


def test_an_engine_without_anything(collector):
    found = scrape(collector)
    assert found["runengine_up",] == 1
    assert found["runengine_images",] == 0
    assert found["runengine_containers", "running"] == 0
    assert found["runengine_journal_gaps_total",] == 0
    assert not [key for key in found if key[0].startswith("runengine_action")]


def test_containers_by_state(collector, add):
    add("a", Status="exited", ExitCode=3)
    add("b", **live_state())
    add("c")
    found = scrape(collector)
    states = {key[1]: value for key, value in found.items() if key[0] == "runengine_containers"}
    assert states == {
        "created": 1, "running": 1, "paused": 0, "restarting": 0, "exited": 1, "removing": 0,
    }
    assert found["runengine_container_exit_code", "a"] == 3
    assert ("runengine_container_exit_code", "b") not in found
    assert ("runengine_container_exit_code", "c") not in found


def test_a_lost_exit_has_no_code(collector, add):
    add("a", Status="exited", ExitCode=None)
    assert ("runengine_container_exit_code", "a") not in scrape(collector)


def test_what_a_running_container_uses(collector, add, tmp_path):
    cgroup = v2_cgroup(tmp_path / "cgroup")
    started = {"StartedAt": "2026-01-01T00:00:00.5Z"}
    add("web", details={"cgroup": cgroup}, **live_state() | started)
    found = {key[0].removeprefix("runengine_container_"): value
             for key, value in scrape(collector).items() if key[1:] == ("web",)}
    assert found.pop("start_time_seconds") == 1767225600.5
    assert found == {
        "restarts": 0, "cpu_seconds_total": 1.5, "memory_bytes": 4096, "memory_peak_bytes": 8192,
        "oom_kills_total": 2, "pids": 3, "pids_limit": 32, "io_read_bytes_total": 10,
        "io_written_bytes_total": 20,
    }


def test_the_cgroup_of_an_ended_container_is_not_read(collector, add, tmp_path):
    add("web", details={"cgroup": v2_cgroup(tmp_path / "cgroup")}, Status="exited", ExitCode=0)
    assert ("runengine_container_pids", "web") not in scrape(collector)


def test_only_what_happened_since_the_beginning_counts(context):
    write_message(context.paths, "start")
    collector = Collector(context.paths)
    assert ("runengine_actions_total", "container", "start") not in scrape(collector)
    write_message(context.paths, "start", tookNs=20_000_000)
    write_message(context.paths, "die", {"exitCode": "7"})
    found = scrape(collector)
    assert found["runengine_actions_total", "container", "start"] == 1
    assert found["runengine_action_duration_seconds_count", "container", "start"] == 1
    bucket = "runengine_action_duration_seconds_bucket"
    assert found[bucket, "0.01", "container", "start"] == 0
    assert found[bucket, "0.025", "container", "start"] == 1
    assert found["runengine_container_exits_total", "7"] == 1
    assert scrape(collector) == found
    collector.close()


def test_a_journal_with_rubbish_in_it(collector, context):
    write_message(context.paths, "start")
    with open(context.paths.journal, "ab") as file:
        file.write(b'\xff\n{"Type": 3}\n[1]\n' + b"[" * 100_000 + b"\n{}\n\n")
    write_message(context.paths, "stop")
    found = scrape(collector)
    actions = [key[-1] for key in found if key[0] == "runengine_actions_total"]
    assert sorted(actions) == ["start", "stop"]


def test_a_journal_that_was_turned_over_between_scrapes(collector, context):
    scrape(collector)
    write_message(context.paths, "start")
    os.rename(context.paths.journal, context.paths.journal + ".1")
    write_message(context.paths, "stop")
    found = scrape(collector)
    assert found["runengine_actions_total", "container", "start"] == 1
    assert found["runengine_actions_total", "container", "stop"] == 1


def test_a_database_that_cannot_be_read(collector, context):
    context.store.close()
    shutil.rmtree(context.paths.root)
    os.makedirs(context.paths.database)
    write_message(context.paths, "start")
    found = scrape(collector)
    assert found["runengine_up",] == 0
    assert not [key for key in found if key[0] == "runengine_containers"]
    assert found["runengine_actions_total", "container", "start"] == 1


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=rubbish", "text/plain; version=0.0.4"),
        ("\xff;;;,=", "text/plain; version=0.0.4"),
    ],
)
def test_the_client_chooses_the_format(collector, accept, content_type):
    assert expose(collector, accept).content_type.startswith(content_type)


def test_open_metrics_can_be_read(collector, add, context):
    add("web", **live_state())
    write_message(context.paths, "start", tookNs=1)
    write_message(context.paths, "die", {"exitCode": "0"})
    text = expose(collector, OPEN_METRICS).content.decode()
    names = {family.name for family in parse_open(text)}
    assert {"runengine_build", "runengine_containers", "runengine_actions"} <= names
