"""Looking at containers again and again (rows H-01, H-02), on made-up cgroups."""

import itertools

import pytest

from runengine.cgroups import usage
from runengine.errors import NotFound
from runengine.mgr.container import observe, stats
from runengine.mgr.container.stats import Host, Meter, Watch
from runengine.store.containers import NEVER

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    """Every look finds a second more used; containers live as their stored state says."""
    counter = itertools.count(1)

    def read(dirs, memory_bytes):
        found = usage.nothing()
        found.cpu["cpu_usage"]["total_usage"] = next(counter) * SECOND
        found.memory["limit"] = memory_bytes
        return found

    monkeypatch.setattr(usage, "read", read)
    monkeypatch.setattr(observe, "observe", lambda _, record: record.state)
    monkeypatch.setattr(stats, "_networks", lambda *_: {})


def host(seconds):
    return Host(seconds * 2 * SECOND, 2, 8 << 30, seconds * SECOND)


@pytest.fixture
def running(add):
    return add("one", details={"cgroup": {}}, Status="running", StartedAt="2026-01-01T00:00:01Z")


def test_the_first_look_has_nothing_before_it(context, running):  # H-02
    meter = Meter()
    first = meter.measure(context, running, host(1))
    assert (first["name"], first["id"], first["preread"]) == ("/one", running.id, NEVER)
    assert first["precpu_stats"] == usage.nothing().cpu
    second = meter.measure(context, running, host(2))
    assert second["preread"] == first["read"]
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["cpu_stats"]["system_cpu_usage"] == 4 * SECOND
    assert second["memory_stats"]["limit"] == 8 << 30


def test_another_run_begins_anew(context, running):
    meter = Meter()
    meter.measure(context, running, host(1))
    state = {**running.state, "StartedAt": "2026-01-01T00:09:00Z"}
    later = meter.measure(context, running._replace(state=state), host(2))
    assert later["preread"] == NEVER


def test_a_stopped_container_is_zeros_with_its_name(context, add):  # H-01, H-02
    record = add("two", Status="exited")
    found = Meter().measure(context, record, host(1))
    assert (found["name"], found["read"], found["pids_stats"]) == ("/two", NEVER, {})
    assert found["memory_stats"] == {}
    assert "networks" not in found
    assert found["cpu_stats"] == usage.nothing().cpu


def names(found):
    return [one["name"] for one in found]


def test_containers_come_and_go(context, running, add):
    watch = Watch(context, None, everything=False)
    assert names(watch.round()) == ["/one"]
    second = add("two", details={"cgroup": {}}, Status="running", StartedAt="x")
    assert names(watch.round()) == ["/two", "/one"]
    context.store.containers.set_state(second.id, {**second.state, "Status": "exited"})
    found = watch.round()
    assert names(found) == ["/one"]
    assert found[0]["preread"] != NEVER
    context.store.containers.remove(running.id)
    assert watch.round() == []
    assert not watch.is_over


def test_all_of_them(context, running, add):
    add("two", Status="exited")
    add("half", Status="creating")
    assert names(Watch(context, None, everything=True).round()) == ["/two", "/one"]


def test_those_that_were_named_in_their_order_until_none_is_left(context, running, add):
    stopped = add("two", Status="exited")
    watch = Watch(context, [stopped.id, running.id], everything=False)
    rounds = watch.rounds(interval_s=0)
    assert names(next(rounds)) == ["/two", "/one"]
    context.store.containers.remove(stopped.id)
    assert names(next(rounds)) == ["/one"]
    context.store.containers.remove(running.id)
    assert list(rounds) == []
    assert watch.is_over


def test_records_are_read_again_only_after_a_change(context, running, monkeypatch):
    watch = Watch(context, None, everything=False)
    watch.round()
    real, calls = context.store.containers.all, []

    def counted():
        calls.append(1)
        return real()

    monkeypatch.setattr(context.store.containers, "all", counted)
    watch.round()
    assert calls == []
    context.store.containers.set_desired(running.id, "stopped")
    watch.round()
    assert calls == [1]


def test_one_document_of_two_looks_or_of_one(context, running, add, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("runengine.mgr.container.stats.time.sleep", slept.append)
    assert stats.stats(context, "one", one_shot=True)["preread"] == NEVER
    assert slept == []
    assert stats.stats(context, "one")["preread"] != NEVER
    assert slept == [stats.INTERVAL_S]
    add("two", Status="exited")
    assert stats.stats(context, "two")["read"] == NEVER
    assert len(slept) == 1  # there is nothing to wait for


def test_a_stream_says_at_once_that_there_is_no_such_container(context):
    with pytest.raises(NotFound, match="nobody"):
        stats.stream_stats(context, "nobody")


def test_a_stream_goes_on_over_stops_and_ends_with_the_container(context, running):
    stream = stats.stream_stats(context, "one", interval_s=0)
    assert next(stream)["read"] != NEVER
    context.store.containers.set_state(running.id, {**running.state, "Status": "exited"})
    assert next(stream)["read"] == NEVER
    context.store.containers.remove(running.id)
    assert list(stream) == []


def test_this_host_is_looked_at():  # H-04
    first, second = stats.look_at_host(), stats.look_at_host()
    assert second.cpu_ns >= first.cpu_ns > 0
    assert first.online_cpus >= 1
    assert first.memory_bytes > 1 << 20
