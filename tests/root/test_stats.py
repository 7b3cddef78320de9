"""``stats``, and limits that bite, on real containers: by the kernel's counters, by no clock."""

import json
import os
import pty
import signal
import subprocess

import pytest

from runengine.cli import stats_rows
from runengine.errors import NotFound
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

MIB = 1 << 20
BUSY = ("sh", "-c", "while :; do :; done")


def look(engine, container):
    return engine.containers.stats(container, one_shot=True)


def test_a_running_container_has_all_sections(runner, engine):  # H-01, H-03
    script = "head -c 4m /dev/zero > /dev/shm/x; sleep 1000 & exec sleep 1000"
    container = runner.start("sh", "-c", script, name="box", Memory=64 * MIB, PidsLimit=40)
    wait_for(lambda: shmem(engine, container) >= 4 * MIB)
    wait_for(lambda: look(engine, container)["pids_stats"]["current"] == 2)
    found = engine.containers.stats("box")
    assert (found["id"], found["name"]) == (container, "/box")
    assert found["preread"] < found["read"]
    assert found["pids_stats"] == {"current": 2, "limit": 40}
    memory = found["memory_stats"]
    assert memory["limit"] == 64 * MIB
    assert 4 * MIB <= stats_rows.memory_used(memory) <= memory["usage"] <= memory["max_usage"]
    now, before = found["cpu_stats"], found["precpu_stats"]
    assert now["cpu_usage"]["total_usage"] >= before["cpu_usage"]["total_usage"] > 0
    assert now["system_cpu_usage"] > before["system_cpu_usage"]
    assert now["online_cpus"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert len(found["blkio_stats"]) >= 8
    assert found["networks"] == {} or "eth0" in found["networks"]


def test_without_a_limit_it_is_the_hosts_memory(runner, engine):  # H-05
    container = runner.start("sleep", "1000")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert look(engine, container)["memory_stats"]["limit"] == total


def test_what_does_not_run_is_zeros(runner, engine):  # H-01
    container = runner.create("sleep", "1000", name="still")
    for _ in range(2):
        found = engine.containers.stats("still")
        assert found["name"] == "/still"
        assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 0
        assert found["memory_stats"] == {}
        engine.containers.start(container)
        engine.containers.kill(container)
    with pytest.raises(NotFound):
        engine.containers.stats("nobody")


def test_a_paused_container_is_looked_at(runner, engine):
    container = runner.start("sleep", "1000")
    engine.containers.pause(container)
    assert look(engine, container)["pids_stats"]["current"] == 1


def test_a_stream_sees_stops_starts_and_the_end(runner, engine):  # H-02
    container = runner.start("sleep", "1000")
    stream = engine.containers.stream_stats(container, interval_s=0)
    assert next(stream)["pids_stats"]["current"] >= 1
    assert next(stream)["preread"] != next(stream)["read"]
    engine.containers.kill(container)
    assert next(stream)["pids_stats"] == {}
    engine.containers.start(container)
    again = next(stream)
    assert again["preread"].startswith("0001-")
    engine.containers.remove(container, force=True)
    assert list(stream) == []


def test_the_cpu_limit_shows_in_its_counters(runner, engine):
    free = runner.start(*BUSY)
    tight = runner.start(*BUSY, CpuQuota=1000, CpuPeriod=100_000)

    def throttled(container):
        return look(engine, container)["cpu_stats"]["throttling_data"]

    wait_for(lambda: throttled(tight)["throttled_periods"] >= 3)
    assert throttled(tight)["throttled_time"] > 0
    assert throttled(free)["throttled_periods"] == 0


def test_the_pids_limit_bites(runner, engine):
    container = runner.start("sleep", "1000", PidsLimit=20)
    crowd = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo $i"
    code, out, err = runner.exec(container, "sh", "-c", crowd)
    assert (code, out) != (0, b"30\n")
    assert b"fork" in err
    engine.containers.update(container, {"PidsLimit": 100})
    code, out, _ = runner.exec(container, "sh", "-c", crowd)
    assert (code, out) == (0, b"30\n")
    assert 20 < look(engine, container)["pids_stats"]["current"] <= 100


def test_the_memory_limit_bites_and_an_update_can_lift_it(runner, engine):
    container = runner.start("sleep", "1000", Memory=16 * MIB, MemorySwap=16 * MIB)
    fill = ("sh", "-c", "head -c 40m /dev/zero > /dev/shm/x")
    code, _, _ = runner.exec(container, *fill)
    assert code != 0
    assert shmem(engine, container) <= 16 * MIB
    assert engine.containers.inspect(container)["State"]["Running"]
    engine.containers.update(container, {"Memory": 128 * MIB, "MemorySwap": 128 * MIB})
    code, _, _ = runner.exec(container, *fill)
    assert code == 0
    assert shmem(engine, container) >= 40 * MIB


def shmem(engine, container):
    found = look(engine, container)["memory_stats"]["stats"]
    return found.get("total_shmem", found.get("shmem", 0))


def test_the_command_once(cli):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    cli.ok("create", "--name", "two", "busybox", "true")
    lines = cli.ok("stats", "--no-stream").splitlines()
    assert [line.split()[1] for line in lines] == ["ID", "one"]
    form = "{{.Name}} {{.PIDs}}"
    assert cli.ok("stats", "--no-stream", "-a", "--format", form) == "two 0\none 1"
    shown = json.loads(cli.ok("stats", "--no-stream", "--format", "json", "one"))
    assert shown["Container"] == "one"
    assert shown["CPUPerc"].endswith("%")
    done = cli.call("stats", "one", "nobody")
    assert (done.code, done.out, done.err) == (1, "", "Error: No such container: nobody\n")


def test_the_command_on_a_pipe_goes_on_until_its_containers_are_gone(cli):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    words = ["stats", "--format", "{{.Name}} {{.PIDs}}", "one"]
    with cli.begin(*words, stdout=subprocess.PIPE) as command:
        assert command.stdout
        assert command.stdout.readline() == b"one 1\n"
        cli.ok("kill", "one")
        while (line := command.stdout.readline()) != b"one 0\n":
            assert line == b"one 1\n"
        cli.ok("rm", "one")
        while line := command.stdout.readline():
            assert line == b"one 0\n"
        assert command.wait(30) == 0


def test_the_command_on_a_terminal_draws_over_and_ends_with_an_interrupt(cli):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    ours, theirs = pty.openpty()
    command = cli.begin("stats", "--format", "{{.Name}}", stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""
    while seen.count(b"one\033[K") < 2:
        seen += os.read(ours, 4096)
    assert seen.startswith(b"\033[2J\033[Hone\033[K\r\n\033[J")
    command.send_signal(signal.SIGINT)
    assert command.wait(30) in (-signal.SIGINT, 130)
    os.close(ours)
