"""``stats``: Docker's columns and arithmetic (row H-06), and how it is drawn."""

from __future__ import annotations

import json

import pytest

from runengine.cgroups import usage
from runengine.cli import stats_rows, terminal
from runengine.errors import NotFound
from tests.support.cli import call

NEVER = "0001-01-01T00:00:00Z"
SECOND = 1_000_000_000


def cpu(used_s, host_s):
    found = usage.nothing().cpu
    found["cpu_usage"]["total_usage"] = int(used_s * SECOND)
    return {**found, "system_cpu_usage": int(host_s * SECOND), "online_cpus": 2}


def document(name="box", **changes):
    found = {
        "name": f"/{name}",
        "id": "0123456789abcdef" * 4,
        "read": "2026-01-01T00:00:02Z",
        "preread": "2026-01-01T00:00:01Z",
        "pids_stats": {"current": 3, "limit": 100},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "Read", "value": 1000},
                {"major": 8, "minor": 16, "op": "read", "value": 234},
                {"major": 8, "minor": 0, "op": "Write", "value": 5_000_000},
                {"major": 8, "minor": 0, "op": "Total", "value": 99},
            ]
        },
        "cpu_stats": cpu(11, 102),
        "precpu_stats": cpu(10, 100),
        "memory_stats": {
            "usage": 3 << 20,
            "limit": 8 << 20,
            "stats": {"total_inactive_file": 1 << 20},
        },
        "networks": {
            "eth0": {"rx_bytes": 1000, "tx_bytes": 20},
            "eth1": {"rx_bytes": 500, "tx_bytes": 1},
        },
    }
    return {**found, **changes}


def stopped(name="box"):
    nothing = usage.nothing()
    return document(
        name,
        read=NEVER,
        preread=NEVER,
        pids_stats={},
        blkio_stats=nothing.blkio,
        cpu_stats=nothing.cpu,
        precpu_stats=nothing.cpu,
        memory_stats={},
        networks=None,
    )


class Watch:
    """Gives the rounds it was made with."""

    def __init__(self, rounds):
        self._left = list(rounds)

    @property
    def is_over(self):
        return not self._left

    def round(self):
        return self._left.pop(0)

    def rounds(self, interval_s=1.0):
        assert interval_s == 1.0
        while self._left:
            yield self.round()


class Containers:
    def __init__(self, *rounds):
        self._rounds = rounds
        self.asked = None

    def resolve(self, name):
        if name.startswith("nobody"):
            raise NotFound(f"No such container: {name}")
        return "0123456789abcdef" * 4 if name == "box" else name

    def watch_stats(self, names, *, all):
        self.asked = (list(names), all)
        return Watch(self._rounds)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("runengine.cli.stats.time.sleep", lambda _: None)


def shown(*words, rounds=None):
    containers = Containers(*(rounds or [[document()], [document()]]))
    result = call("stats", *words, containers=containers)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_table():
    assert shown("--no-stream").splitlines() == [
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       "
        "BLOCK I/O      PIDS",
        "0123456789ab   box       100.00%   2MiB / 8MiB         25.00%    1.5kB / 21B   "
        "1.23kB / 5MB   3",
    ]


def test_the_values_are_dockers():
    row = stats_rows.StatsRow(document(), full=False)
    assert row.document() == {
        "BlockIO": "1.23kB / 5MB",
        "CPUPerc": "100.00%",
        "Container": "0123456789ab",
        "ID": "0123456789ab",
        "MemPerc": "25.00%",
        "MemUsage": "2MiB / 8MiB",
        "Name": "box",
        "NetIO": "1.5kB / 21B",
        "PIDs": "3",
    }


def test_json_is_a_line_for_each():
    lines = shown("--no-stream", "--format", "json", rounds=[[document()]] * 2).splitlines()
    assert json.loads(lines[0])["MemPerc"] == "25.00%"


def test_templates_and_full_ids():
    form = "{{.Container}}|{{.Name}}|{{.ID}}"
    full = "0123456789abcdef" * 4
    assert shown("--no-stream", "--no-trunc", "--format", form, "box") == f"box|box|{full}\n"
    assert shown("--no-stream", "--format", form) == "0123456789ab|box|0123456789ab\n"


def test_each_kind_of_memory_and_of_waiting_by_itself():
    psi = {"some": {"avg10": 1.5, "total": 9}, "full": {"avg10": 0.0}}
    memory = {"usage": 9 << 20, "anon": 1 << 20, "file": 2 << 20, "max_usage": 3 << 30}
    found = document(
        memory_stats={**memory, "events": {"oom": 2, "oom_kill": 1}, "psi": psi},
        cpu_stats={**cpu(11, 102), "psi": psi},
    )
    form = "table {{.MemCurrent}} {{.MemAnon}} {{.MemFile}} {{.MemPeak}} {{.OOMKills}}"
    heading, row = shown("--no-stream", "--format", form, rounds=[[found]] * 2).splitlines()
    assert heading.split("  ")[0] == "MEM CURRENT MEM ANON MEM FILE MEM PEAK OOM KILLS"
    assert row == "9MiB 1MiB 2MiB 3GiB 1"
    form = "{{.CPUPressure}} {{.MemPressure}} {{.IOPressure}}"
    assert shown("--no-stream", "--format", form, rounds=[[found]] * 2) == "1.50% 1.50% --\n"
    form = "{{.MemAnon}} {{.MemPeak}} {{.OOMKills}} {{.CPUPressure}}"
    assert shown("--no-stream", "--format", form, rounds=[[stopped()]] * 2) == "-- -- -- --\n"


def test_what_is_asked_of_the_engine():
    containers = Containers([], [])
    call("stats", "-a", "--no-stream", containers=containers)
    assert containers.asked == ([], True)
    call("stats", "--no-stream", "box", "other", containers=containers)
    assert containers.asked == (["0123456789abcdef" * 4, "other"], False)


def test_a_stopped_container_is_zeros():
    row = stats_rows.StatsRow(stopped(), full=False)
    assert row.document() | {"ID": "", "Container": ""} == {
        "BlockIO": "0B / 0B",
        "CPUPerc": "0.00%",
        "Container": "",
        "ID": "",
        "MemPerc": "0.00%",
        "MemUsage": "0B / 0B",
        "Name": "box",
        "NetIO": "0B / 0B",
        "PIDs": "0",
    }


@pytest.mark.parametrize(
    ("now", "before", "percent"),
    [
        (cpu(11, 104), cpu(10, 100), 50.0),
        (cpu(12, 102), cpu(10, 100), 200.0),
        (cpu(10, 102), cpu(10, 100), 0.0),
        (cpu(1, 102), cpu(10, 100), 0.0),  # another run's counters
        (cpu(11, 100), cpu(10, 100), 0.0),
    ],
)
def test_cpu(now, before, percent):
    assert stats_rows.cpu_percent(document(cpu_stats=now, precpu_stats=before)) == percent


def test_one_look_tells_nothing_of_the_cpu():
    row = stats_rows.StatsRow(document(preread=NEVER), full=False)
    assert row.field("CPUPerc") == "--"


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ({"usage": 100, "stats": {"total_inactive_file": 30, "inactive_file": 7}}, 70),
        ({"usage": 100, "stats": {"inactive_file": 30, "cache": 80}}, 70),
        ({"usage": 100, "stats": {"inactive_file": 100}}, 100),
        ({"usage": 100}, 100),
        ({}, 0),
    ],
)
def test_memory_without_what_the_kernel_would_give_up_first(memory, used):
    assert stats_rows.memory_used(memory) == used


def test_names_that_are_nobodys_are_told_before_anything_is_shown():
    containers = Containers([document()])
    result = call("stats", "nobody1", "box", "nobody2", containers=containers)
    assert (result.exit_code, result.stdout, containers.asked) == (1, "", None)
    assert result.stderr == (
        "Error: No such container: nobody1\nError: No such container: nobody2\n"
    )


def test_a_pipe_gets_one_table_after_the_other():
    rounds = [[document(preread=NEVER)], [document()], [document()]]
    text = shown(rounds=rounds)
    assert "--" not in text
    assert text.count("CONTAINER ID") == 2
    assert "\033" not in text


def test_a_terminal_is_drawn_over(monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda _: True)
    rounds = [[document(preread=NEVER), document("two")], [document()]]
    text = shown("--format", "{{.Name}} {{.CPUPerc}}", rounds=rounds)
    assert text == (
        "\033[2J"
        "\033[Hbox --\033[K\ntwo 100.00%\033[K\n\033[J"
        "\033[Hbox 100.00%\033[K\n\033[J"
    )


def test_a_terminal_gets_a_single_table_as_it_is(monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda _: True)
    assert "\033" not in shown("--no-stream")


def test_the_time_between_two_looks():
    waited = []

    class Patient(Watch):
        def rounds(self, interval_s=1.0):
            waited.append(interval_s)
            return super().rounds()

    class Watched(Containers):
        def watch_stats(self, names, *, all):
            return Patient([[document()]] * 2)

    containers = Watched()
    assert call("stats", "-i", "0.5", containers=containers).exit_code == 0
    assert waited == [0.5]
    for text in ("0", "-1", "x", "nan", "1e9"):
        result = call("stats", f"--interval={text}", containers=containers)
        assert result.exit_code == 125
        assert "is no number of seconds from 0.1 to 86400" in result.stderr
